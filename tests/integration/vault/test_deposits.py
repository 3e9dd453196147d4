"""Provider keys as the tenant's administrator handles them; a canary that was put in is found nowhere else."""

from __future__ import annotations

import json
import os
import select
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from mutx_infra.errors import RefusedError
from mutx_infra.vault.deposits import Keys, Place
from mutx_infra.vault.handover import Machine
from tests.support.administrator import PROGRAM, Administrator
from tests.support.authorities import make_authority
from tests.support.vault import RunningVault
from tests.support.vault_product import SERVERS, begin, server_of

CANARY = "sk-canary-7f3a9d2e51b84c06"
MACHINES = tuple(
    Machine(name=f"acme-{key}", key=key, role=role, address=IPv4Address(address))
    for key, role, address in (
        ("agent-1", "agent", "10.0.1.4"), ("agent-2", "agent", "10.0.1.5"), ("guard", "guard", "10.0.1.6"),
    )
)  # fmt: skip


@pytest.fixture(scope="module", params=SERVERS)
def vault(request: pytest.FixtureRequest) -> Iterator[RunningVault]:
    with server_of(request.param) as made:
        yield made


@pytest.fixture(scope="module")
def claimed(vault: RunningVault, tmp_path_factory: pytest.TempPathFactory) -> Administrator:
    made = Administrator(vault, tmp_path_factory.mktemp("deposits") / "ann", MACHINES)
    holder = begin(made)
    assert made.refusal("deposit", "acme", "openai", "--shared", given=CANARY) == ("vault-unclaimed", 4)
    made.run("claim", "acme", "--pgp-key", holder.public.name)
    return made


@pytest.fixture
def ann(vault: RunningVault, claimed: Administrator) -> Iterator[Administrator]:
    """Afterwards no key is left."""
    yield claimed
    admin = vault.as_admin()
    for place in ("agents/agent-1", "agents/agent-2", "shared"):
        for name in admin.list(f"byok/metadata/{place}"):
            admin.delete(f"byok/metadata/{place}/{name}")


def value(vault: RunningVault, path: str) -> dict[str, str]:
    found = vault.as_admin().read(f"byok/data/{path}")
    assert found is not None
    return dict(found["data"])


def test_a_canary_is_in_the_vault_and_nowhere_else(
    vault: RunningVault, ann: Administrator, tmp_path: Path
) -> None:
    file = tmp_path / "anthropic.key"
    file.write_text(f"{CANARY}-file\n")
    began = len(ann.said)

    with arguments_of_all() as seen:
        ann.run("deposit", "acme", "openai", "--agent", "agent-1", given=f"{CANARY}\n", installed=True)
        ann.run("deposit", "acme", "anthropic", "--shared", "--from", str(file), installed=True)
        ann.run(
            "rotate",
            "acme",
            "openai",
            "--agent",
            "agent-1",
            "--from",
            "-",
            given=f"{CANARY}-new",
            installed=True,
        )
        ann.run("list", "acme", installed=True)
        ann.json("list", "acme")
        ann.run("revoke", "acme", "anthropic", "--shared")

    assert value(vault, "agents/agent-1/openai") == {"OPENAI_KEY": f"{CANARY}-new"}
    said = "".join(ann.said[began:])
    logs = vault.audit_log.read_text() + (vault.folder / "server.log").read_text()
    assert "openai" in said
    assert logs.count("byok/data/agents/agent-1/openai") > 2
    assert any(PROGRAM in line for line in seen)
    assert CANARY not in said
    assert CANARY not in logs
    assert CANARY not in "".join(seen)
    assert not [p for p in ann.folder.rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes()]


def test_a_key_that_is_typed_is_not_shown(vault: RunningVault, ann: Administrator) -> None:
    master, terminal = os.openpty()
    process = subprocess.Popen(
        [PROGRAM, "vault", "deposit", "acme", "openai", "--shared"],
        cwd=ann.folder, env=ann.variables(), stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    asked = b""
    while b"not shown" not in asked:
        asked += process.stderr.read1()
    os.write(master, f"{CANARY}\n".encode())
    _, said = process.communicate(timeout=60)
    echoed = os.read(master, 4096) if select.select([master], [], [], 0)[0] else b""
    os.close(master)
    os.close(terminal)

    assert process.returncode == 0, said
    assert value(vault, "shared/openai") == {"OPENAI_KEY": CANARY}
    assert CANARY.encode() not in echoed + asked + said


def test_keys_are_listed_without_their_values(vault: RunningVault, ann: Administrator) -> None:
    ann.run("deposit", "acme", "openai", "--agent", "agent-1", given="one")
    ann.run("deposit", "acme", "my-gateway", "--shared", given="two")
    ann.run("rotate", "acme", "openai", "--agent", "agent-1", given="three")

    listed = ann.json("list", "acme")["keys"]

    assert [
        (each["agent"], each["provider"], each["name"], each["version"], each["kept"]) for each in listed
    ] == [
        ("agent-1", "openai", "OPENAI_KEY", 2, 1),
        (None, "my-gateway", "MY_GATEWAY_KEY", 1, 1),
    ]
    assert value(vault, "shared/my-gateway") == {"MY_GATEWAY_KEY": "two"}


def test_a_second_deposit_is_refused_and_changes_nothing(vault: RunningVault, ann: Administrator) -> None:
    ann.run("deposit", "acme", "openai", "--shared", given="first")

    assert ann.refusal("deposit", "acme", "openai", "--shared", given="second") == ("key-exists", 4)

    assert "version 1" in ann.said[-1]
    assert value(vault, "shared/openai") == {"OPENAI_KEY": "first"}


def test_of_two_rotations_at_once_one_is_refused_and_none_is_lost(
    vault: RunningVault, ann: Administrator
) -> None:
    """Both saw version 1; whoever comes second is told so."""
    place, admin = Place("openai", None), vault.as_admin()
    keys = Keys("acme", admin)
    keys.deposit(place, SecretStr("first"))
    seen = keys.require(place)

    keys.rotate(place, SecretStr("second"), seen)
    with pytest.raises(RefusedError) as caught:
        keys.rotate(place, SecretStr("third"), seen)

    assert caught.value.code == "key-changed"
    assert value(vault, "shared/openai") == {"OPENAI_KEY": "second"}


def test_what_was_rotated_cannot_be_read_any_more(vault: RunningVault, ann: Administrator) -> None:
    ann.run("deposit", "acme", "openai", "--shared", given="first")

    ann.run("rotate", "acme", "openai", "--shared", given="second")

    admin = vault.as_admin()
    assert admin.read("byok/data/shared/openai?version=1") is None
    assert value(vault, "shared/openai") == {"OPENAI_KEY": "second"}


def test_many_deposits_at_once_leave_one_version(vault: RunningVault, ann: Administrator) -> None:
    started = [
        subprocess.Popen(
            [PROGRAM, "vault", "deposit", "acme", "openai", "--shared"],
            cwd=ann.folder, env=ann.variables(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]  # fmt: skip
    said = [
        process.communicate(f"key-{i}".encode(), timeout=60)[1].decode() for i, process in enumerate(started)
    ]

    assert sorted(process.returncode for process in started) == [0, 4, 4]
    assert sum("error[key-exists]" in each or "error[key-changed]" in each for each in said) == 2
    winner = next(i for i, process in enumerate(started) if process.returncode == 0)
    assert value(vault, "shared/openai") == {"OPENAI_KEY": f"key-{winner}"}


def test_a_revoked_key_is_gone_in_every_version(vault: RunningVault, ann: Administrator) -> None:
    ann.run("deposit", "acme", "openai", "--agent", "agent-2", given="one")
    ann.run("rotate", "acme", "openai", "--agent", "agent-2", given="two")

    ann.run("revoke", "acme", "openai", "--agent", "agent-2")

    admin = vault.as_admin()
    assert admin.read("byok/metadata/agents/agent-2/openai") is None
    assert ann.refusal("revoke", "acme", "openai", "--agent", "agent-2") == ("key-missing", 4)
    assert ann.refusal("rotate", "acme", "openai", "--agent", "agent-2", given="x") == ("key-missing", 4)
    ann.run("deposit", "acme", "openai", "--agent", "agent-2", given="three")
    assert value(vault, "agents/agent-2/openai") == {"OPENAI_KEY": "three"}


def test_a_key_that_was_only_deleted_can_be_deposited_again(vault: RunningVault, ann: Administrator) -> None:
    ann.run("deposit", "acme", "openai", "--shared", given="one")
    vault.as_admin().delete("byok/data/shared/openai")

    assert ann.json("list", "acme")["keys"] == []
    assert ann.json("deposit", "acme", "openai", "--shared", given="two")["version"] == 2


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("", "key-empty"), ("\n", "key-empty"), ("  \n", "key-empty"), ("a\nb\n", "key-lines"), ("a\rb", "key-lines"),
        ("a\tb", "key-characters"), ("a\x00b", "key-characters"), (" a", "key-characters"),
        ("a\u200bb", "key-characters"),
        ("x" * 8193, "key-too-long"),
    ],
    ids=["empty", "line-end", "blank", "lines", "return", "tab", "zero", "space", "invisible", "long"],
)  # fmt: skip
def test_what_is_no_key_is_refused(vault: RunningVault, ann: Administrator, given: str, code: str) -> None:
    assert ann.refusal("deposit", "acme", "openai", "--shared", given=given) == (code, 4)
    assert vault.as_admin().read("byok/metadata/shared/openai") is None
    assert len(given) < len("a\tb") or given not in ann.said[-1]


def test_a_guard_is_given_the_key_of_masks_under_its_own_name(ann: Administrator) -> None:
    made = ann.json("deposit", "acme", "mask", "--agent", "guard", given="bWFzaw==")
    listed = ann.json("list", "acme")
    ann.json("rotate", "acme", "mask", "--agent", "guard", given="bmV3IQ==")
    ann.run("revoke", "acme", "mask", "--agent", "guard")

    assert (made["agent"], made["provider"], made["version"]) == ("acme-guard", "mask", 1)
    assert [(each["agent"], each["provider"]) for each in listed["keys"]] == [("acme-guard", "mask")]
    assert ann.json("list", "acme")["keys"] == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["open/ai", "--shared"], "provider-invalid"),
        (["../openai", "--shared"], "provider-invalid"),
        (["OpenAI", "--shared"], "provider-invalid"),
        (["openai", "--agent", "agent-9"], "agent-unknown"),
        (["openai", "--agent", "guard"], "agent-unknown"),
        (["openai", "--agent", "agent-1/x"], "agent-unknown"),
        (["openai"], "key-whose"),
        (["openai", "--agent", "agent-1", "--shared"], "key-whose"),
        (["openai", "--shared", "--check-url", "http://x", "--check"], "check-url"),
        (["my-gateway", "--shared", "--check"], "check-url"),
    ],
    ids=["slash", "up", "upper", "no-agent", "guard", "below", "nobody", "both", "plain", "unknown"],
)
def test_a_place_that_makes_no_sense_is_refused(ann: Administrator, arguments: list[str], code: str) -> None:
    assert ann.refusal("deposit", "acme", *arguments, given="x") == (code, 2)


def test_a_file_that_is_not_there_is_refused(ann: Administrator) -> None:
    assert ann.refusal("deposit", "acme", "openai", "--shared", "--from", "none.key") == (
        "file-unreadable",
        3,
    )


def test_it_must_be_said_what_is_revoked(ann: Administrator) -> None:
    assert ann.refusal("revoke", "acme") == ("revoke-which", 2)
    assert ann.refusal("revoke", "acme", "openai", "--machine", "acme-agent-1") == ("revoke-which", 2)


class TestCheck:
    """The provider is asked first, and its answer's body goes nowhere."""

    @pytest.fixture
    def provider(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
        with provider_at(tmp_path) as made:
            monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
            yield made

    @pytest.mark.parametrize(
        ("name", "header"),
        [("openai", "Authorization"), ("anthropic", "X-Api-Key"), ("my-gateway", "Authorization")],
    )
    def test_a_good_key_is_stored(
        self, vault: RunningVault, ann: Administrator, provider: Provider, name: str, header: str
    ) -> None:
        done = ann.run("deposit", "acme", name, "--shared", "--check", "--check-url", provider.url,
                       given="good", SSL_CERT_FILE=str(provider.authority))  # fmt: skip

        assert value(vault, f"shared/{name}") == {f"{name.upper().replace('-', '_')}_KEY": "good"}
        assert provider.asked[-1][header].removeprefix("Bearer ") == "good"
        assert "models of acme" not in done.stdout + done.stderr

    @pytest.mark.parametrize(
        ("given", "refusal"),
        [
            ("bad", ("provider-refused", 4)),
            ("broken", ("provider-unreachable", 5)),
            ("moved", ("provider-unreachable", 5)),
            ("schlüssel", ("provider-unreachable", 5)),
        ],
    )
    def test_any_other_answer_stores_nothing(
        self,
        vault: RunningVault,
        ann: Administrator,
        provider: Provider,
        given: str,
        refusal: tuple[str, int],
    ) -> None:
        found = ann.refusal(
            "deposit", "acme", "openai", "--shared", "--check", "--check-url", provider.url, given=given
        )

        assert found == refusal
        assert vault.as_admin().read("byok/metadata/shared/openai") is None
        assert "secret words" not in "".join(ann.said[-2:])
        assert given not in "".join(ann.said[-2:]) or given in {"bad", "broken", "moved"}
        assert len(provider.asked) <= 1

    def test_a_provider_of_another_authority_gets_no_key(
        self, ann: Administrator, provider: Provider, tmp_path: Path
    ) -> None:
        other = tmp_path / "other.pem"
        other.write_text(make_authority("x").pem)

        found = ann.refusal("deposit", "acme", "openai", "--shared", "--check", "--check-url", provider.url,
                            given="good", SSL_CERT_FILE=str(other))  # fmt: skip

        assert found == ("provider-unreachable", 5)
        assert provider.asked == []


def test_policies_are_compared_and_put_in_force(vault: RunningVault, ann: Administrator) -> None:
    assert ann.json("policy", "diff", "acme")["differences"] == []
    admin = vault.as_admin()
    admin.write("sys/policies/acl/agent", {"policy": 'path "byok/*" { capabilities = ["read"] }'})
    admin.write("sys/policies/acl/ours", {"policy": 'path "byok/*" { capabilities = ["list"] }'})
    admin.delete("sys/policies/acl/depositor")

    told = ann.json("policy", "diff", "acme", expect=10)
    assert [each["name"] for each in told["differences"]] == ["agent", "depositor", "ours"]
    assert '-path "byok/*"' in ann.run("policy", "diff", "acme", expect=10).stdout
    assert ann.json("policy", "apply", "acme")["written"] == ["agent", "depositor"]
    assert [each["name"] for each in ann.json("policy", "diff", "acme", expect=10)["differences"]] == ["ours"]

    assert ann.json("policy", "apply", "acme")["written"] == []
    admin.delete("sys/policies/acl/ours")
    ours = vault.client(vault.platform_ca, "mutx-operator@acme")
    assert ann.refusal(
        "policy", "apply", "acme", VAULT_CLIENT_CERT=str(ours.certificate), VAULT_CLIENT_KEY=str(ours.key)
    ) == ("vault-login", 4)


class Provider:
    def __init__(self, url: str, authority: Path) -> None:
        self.url, self.authority = url, authority
        self.asked: list[Any] = []


@contextmanager
def provider_at(folder: Path) -> Iterator[Provider]:
    """A provider's API over TLS: it takes `good`, fails on `broken`, sends `moved` elsewhere."""
    authority = make_authority("authority of providers")
    shown = authority.server(folder, "provider", "127.0.0.1")
    (folder / "provider-ca.pem").write_text(authority.pem)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.headers)
            key = (self.headers["X-Api-Key"] or self.headers["Authorization"]).removeprefix("Bearer ")
            self.send_response({"good": 200, "broken": 500, "moved": 302}.get(key, 401))
            self.send_header("Location", f"{made.url}/else")
            self.end_headers()
            self.wfile.write(json.dumps({"data": "models of acme", "error": "secret words"}).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate, shown.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    made = Provider(f"https://127.0.0.1:{server.server_address[1]}/v1/models", folder / "provider-ca.pem")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def arguments_of_all() -> Iterator[list[str]]:
    """Yield the command lines and environments of every process that can be seen meanwhile."""
    seen: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(process.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                    seen.add(process.with_name("environ").read_bytes().decode(errors="replace"))
                except OSError:
                    continue
            time.sleep(0.1)

    thread = threading.Thread(target=look)
    thread.start()
    found: list[str] = []
    try:
        yield found
    finally:
        ended.set()
        thread.join()
        found += seen
