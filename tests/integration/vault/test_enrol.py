"""`vault enroll`, `vault revoke --machine`, `vault ssh-sign`: who gets in by the tenant's leave, and who does not."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mutx_infra.errors import RefusedError
from mutx_infra.vault.handover import Machine
from mutx_infra.vault_ports import ClientCertificate, VaultSession
from tests.support.administrator import Administrator, handover_of
from tests.support.authorities import signing_request
from tests.support.vault import RunningVault
from tests.support.vault_product import SERVERS, begin, server_of

AGENT, OTHER = "acme-agent-1", "acme-agent-2"


@pytest.fixture(scope="module", params=SERVERS)
def vault(request: pytest.FixtureRequest) -> Iterator[RunningVault]:
    with server_of(request.param) as made:
        yield made


@pytest.fixture(scope="module")
def ann(vault: RunningVault, tmp_path_factory: pytest.TempPathFactory) -> Administrator:
    made = Administrator(vault, tmp_path_factory.mktemp("enrol") / "ann")
    made.run("claim", "acme", "--pgp-key", begin(made).public.name)
    return made


@pytest.fixture
def hosts(vault: RunningVault, ann: Administrator) -> Iterator[dict[str, Path]]:
    """Keys of two agents that have asked; afterwards nobody is enrolled."""
    requests = {name: signing_request(ann.folder, name) for name in (AGENT, OTHER)}
    ann.hand_over(handover_of(vault, tuple(machine(name, requests[name][0]) for name in requests)))
    yield {name: key for name, (_, key) in requests.items()}
    admin = vault.as_admin()
    for name in requests:
        admin.delete(f"auth/cert/certs/{name}")
        admin.delete(f"identity/entity/name/{name}")


def machine(name: str, request: str | None, *, address: str = "127.0.0.1", role: str = "agent") -> Machine:
    # Two machines of one address would be odd.
    at = IPv4Address("127.0.0.2" if name == OTHER else address)
    return Machine(name=name, key=name.removeprefix("acme-"), role=role, address=at, request=request)


def log_in(vault: RunningVault, ann: Administrator, name: str, key: Path) -> VaultSession:
    return vault.vault.login(ClientCertificate(ann.folder / "certificates" / f"{name}.pem", key), name)


def test_an_enrolled_agent_reads_its_own_keys_and_renews_its_login(
    vault: RunningVault, ann: Administrator, hosts: dict[str, Path]
) -> None:
    admin = vault.as_admin()
    admin.write("byok/data/agents/agent-1/openai", {"options": {"cas": 0}, "data": {"OPENAI_KEY": "one"}})
    admin.write("byok/data/agents/agent-2/openai", {"options": {"cas": 0}, "data": {"OPENAI_KEY": "two"}})

    told = ann.json("enroll", "acme", AGENT, "--yes")

    agent = log_in(vault, ann, AGENT, hosts[AGENT])
    read = agent.read("byok/data/agents/agent-1/openai")
    assert read is not None
    assert read["data"] == {"OPENAI_KEY": "one"}
    with pytest.raises(RefusedError) as caught:
        agent.read("byok/data/agents/agent-2/openai")
    assert caught.value.code == "vault-denied"
    assert told["enrolled"][0]["fingerprint"] in ann.said[-1]
    anew, _ = asked_anew(ann)
    assert agent.write(f"pki-machines/sign/{AGENT}", {"csr": anew, "common_name": AGENT})["certificate"]
    assert agent.write(f"pki/issue/{AGENT}", {"common_name": AGENT})["private_key"]
    for engine, name in (("pki-machines/sign", OTHER), ("pki/issue", OTHER)):
        with pytest.raises(RefusedError):
            agent.write(f"{engine}/{name}", {"csr": anew, "common_name": name})
    for place in ("agent-1", "agent-2"):
        admin.delete(f"byok/metadata/agents/{place}/openai")


def test_a_machine_logs_in_from_its_own_address_alone(
    vault: RunningVault, ann: Administrator, hosts: dict[str, Path]
) -> None:
    ann.run("enroll", "acme", OTHER, "--yes")

    with pytest.raises(RefusedError) as caught:
        log_in(vault, ann, OTHER, hosts[OTHER])

    assert caught.value.code == "vault-login"


def test_one_machines_certificate_is_not_anothers(
    vault: RunningVault, ann: Administrator, hosts: dict[str, Path]
) -> None:
    ann.run("enroll", "acme", "--all", "--yes")

    with pytest.raises(RefusedError) as caught:
        vault.vault.login(
            ClientCertificate(ann.folder / "certificates" / f"{OTHER}.pem", hosts[OTHER]), AGENT
        )

    assert caught.value.code == "vault-login"


def test_all_are_those_that_wait(ann: Administrator, hosts: dict[str, Path]) -> None:
    ann.run("enroll", "acme", "agent-1", "--yes")

    told = ann.json("enroll", "acme", "--all", "--yes")

    assert [each["host"] for each in told["enrolled"]] == [OTHER]
    assert ann.json("enroll", "acme", "--all", "--yes")["enrolled"] == []


def test_who_is_enrolled_is_not_enrolled_by_accident(
    vault: RunningVault, ann: Administrator, hosts: dict[str, Path]
) -> None:
    """A new hand-over file with another key for the same host must not replace the host unnoticed."""
    ann.run("enroll", "acme", AGENT, "--yes")
    before = vault.as_admin().read(f"auth/cert/certs/{AGENT}")
    thief, _ = asked_anew(ann)
    ann.hand_over(handover_of(vault, (machine(AGENT, thief, address="127.0.0.9"),)))

    assert ann.refusal("enroll", "acme", AGENT, "--yes") == ("machine-enrolled", 4)

    assert vault.as_admin().read(f"auth/cert/certs/{AGENT}") == before


def test_an_enrolment_is_replaced_on_purpose(
    vault: RunningVault, ann: Administrator, hosts: dict[str, Path]
) -> None:
    """The old certificate, and what was got by it, is of no use any more."""
    ann.run("enroll", "acme", AGENT, "--yes")
    old = ann.folder / "old.pem"
    old.write_text((ann.folder / "certificates" / f"{AGENT}.pem").read_text())
    session = vault.vault.login(ClientCertificate(old, hosts[AGENT]), AGENT)
    request, key = asked_anew(ann)
    ann.hand_over(handover_of(vault, (machine(AGENT, request),)))

    ann.run("enroll", "acme", AGENT, "--again", "--yes")

    assert log_in(vault, ann, AGENT, key)
    with pytest.raises(RefusedError) as caught:
        session.read("auth/token/lookup-self")
    assert caught.value.code == "vault-denied"
    with pytest.raises(RefusedError) as caught:
        vault.vault.login(ClientCertificate(old, hosts[AGENT]), AGENT)
    assert caught.value.code == "vault-login"


def test_a_revoked_machine_stays_out(vault: RunningVault, ann: Administrator, hosts: dict[str, Path]) -> None:
    """Also when a host of its name is enrolled later: its certificate is revoked, not only its role gone."""
    ann.run("enroll", "acme", AGENT, "--yes")
    old = ann.folder / "old.pem"
    old.write_text((ann.folder / "certificates" / f"{AGENT}.pem").read_text())
    session = vault.vault.login(ClientCertificate(old, hosts[AGENT]), AGENT)

    told = ann.json("revoke", "acme", "--machine", "agent-1")

    assert told["revoked_tokens"] >= 1
    with pytest.raises(RefusedError):
        session.read("auth/token/lookup-self")
    admin = vault.as_admin()
    assert admin.read(f"identity/entity/name/{AGENT}") is None
    assert AGENT not in admin.list("pki/roles")
    request, key = asked_anew(ann)
    ann.hand_over(handover_of(vault, (machine(AGENT, request),)))
    ann.run("enroll", "acme", AGENT, "--yes")
    assert log_in(vault, ann, AGENT, key)
    with pytest.raises(RefusedError):
        vault.vault.login(ClientCertificate(old, hosts[AGENT]), AGENT)


@pytest.mark.parametrize("name", ["tenant-admin", "mutx-operator", "acme-agent-9"])
def test_what_is_no_machine_is_not_revoked(vault: RunningVault, ann: Administrator, name: str) -> None:
    assert ann.refusal("revoke", "acme", "--machine", name) == ("machine-not-enrolled", 4)
    assert vault.as_admin()


def test_an_enrolment_that_was_cut_off_is_done_again(
    vault: RunningVault, ann: Administrator, hosts: dict[str, Path]
) -> None:
    """It cannot write the certificate: the host is not enrolled, and the same command goes on."""
    (ann.folder / "blocked").write_text("a file, where a folder is to be")
    assert ann.refusal("enroll", "acme", AGENT, "--yes", "--out", "blocked") == ("file-unwritable", 3)
    assert vault.as_admin().read(f"auth/cert/certs/{AGENT}") is None

    ann.run("enroll", "acme", AGENT, "--yes")

    assert log_in(vault, ann, AGENT, hosts[AGENT])


def test_nobody_is_let_in_unseen(vault: RunningVault, ann: Administrator, hosts: dict[str, Path]) -> None:
    assert ann.refusal("enroll", "acme", AGENT) == ("not-confirmed", 4)
    assert vault.as_admin().read(f"auth/cert/certs/{AGENT}") is None


@pytest.mark.parametrize("hosts_", [[], [AGENT, "--all"]], ids=["none", "both"])
def test_it_must_be_said_who(ann: Administrator, hosts: dict[str, Path], hosts_: list[str]) -> None:
    assert ann.refusal("enroll", "acme", *hosts_, "--yes") == ("machines-which", 2)


def test_an_unknown_host_is_refused(ann: Administrator, hosts: dict[str, Path]) -> None:
    assert ann.refusal("enroll", "acme", "acme-agent-9", "--yes") == ("machine-not-handed-over", 2)


def test_a_request_that_is_wrong_is_refused(
    vault: RunningVault, ann: Administrator, hosts: dict[str, Path]
) -> None:
    """Each with its own word; none of them leaves anything in the Vault."""
    good = signing_request(ann.folder, AGENT)[0]
    bodies = {
        "request-missing": None,
        "request-invalid": good.replace(good[200:210], "A" * 10),
        "request-name": signing_request(ann.folder, OTHER)[0],
        "request-key": p384_request(AGENT),
    }

    for code, body in bodies.items():
        ann.hand_over(handover_of(vault, (machine(AGENT, body),)))
        assert ann.refusal("enroll", "acme", AGENT, "--yes") == (code, 4)

    assert vault.as_admin().read(f"identity/entity/name/{AGENT}") is None


def test_a_machine_that_takes_somebodys_name_is_refused(
    vault: RunningVault, ann: Administrator, hosts: dict[str, Path]
) -> None:
    """The hand-over file is the platform's: it may try to have a role of the tenant's own replaced."""
    for name in ("tenant-admin", "mutx-operator", "globex-agent-1"):
        request = signing_request(ann.folder, name)[0]
        odd = Machine(
            name=name, key="agent-1", role="agent", address=IPv4Address("127.0.0.1"), request=request
        )
        ann.hand_over(handover_of(vault, (odd,)))
        assert ann.refusal("enroll", "acme", name, "--again", "--yes") == ("machine-odd", 4)
    twins = tuple(machine(name, hosts_request(ann, name)).model_copy(update={"address": IPv4Address("127.0.0.1")})
                  for name in (AGENT, OTHER))  # fmt: skip
    ann.hand_over(handover_of(vault, twins))
    assert ann.refusal("enroll", "acme", AGENT, "--yes") == ("machine-odd", 4)


def test_an_operator_gets_a_certificate_for_half_an_hour(ann: Administrator) -> None:
    key = ann.folder / "id"
    key.unlink(missing_ok=True)
    subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)

    told = ann.json("ssh-sign", "acme", "id.pub", "--principal", "converge@acme")

    certificate = ann.folder / told["certificate"]
    shown = subprocess.run(
        ["/usr/bin/ssh-keygen", "-Lf", str(certificate)], capture_output=True, text=True, check=True
    ).stdout
    assert "converge@acme" in shown
    assert "root" not in shown.partition("Principals:")[2]
    assert stat.S_IMODE(certificate.stat().st_mode) == 0o600
    assert ann.refusal("ssh-sign", "acme", "id.pub", "--principal", "root") == ("principal-refused", 4)
    assert ann.refusal("ssh-sign", "acme", "id.pub", "--principal", "converge@acme", "--minutes", "31") == (
        "ssh-minutes", 2,
    )  # fmt: skip
    assert ann.refusal("ssh-sign", "acme", "id", "--principal", "converge@acme") == ("ssh-key-invalid", 2)
    assert ann.refusal("ssh-sign", "acme", "none.pub", "--principal", "converge@acme") == (
        "file-unreadable",
        3,
    )


def asked_anew(ann: Administrator) -> tuple[str, Path]:
    """Return a request of the agent's with another key, which lies apart from the first one."""
    folder = ann.folder / "anew"
    folder.mkdir(exist_ok=True)
    return signing_request(folder, AGENT)


def hosts_request(ann: Administrator, name: str) -> str:
    return signing_request(ann.folder, name)[0]


def p384_request(name: str) -> str:
    key = ec.generate_private_key(ec.SECP384R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()
