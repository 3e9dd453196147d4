"""`vault check`: our Vault keeps every claim, and one that somebody weakened is seen to break it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mutx_infra.adapters.evidence_files import EvidenceFiles
from mutx_infra.adapters.strangers import strangers
from mutx_infra.byok import Product
from mutx_infra.evidence import Bundle, Verdict
from mutx_infra.vault.checking import Shown, VaultCheck, Volumes
from mutx_infra.vault.claims import claims, readings
from mutx_infra.vault.handover import Handover, Machine
from mutx_infra.vault.layout import CERT_AUTH, CertificateRole, platform_common_name
from mutx_infra.vault.parties import Who
from mutx_infra.vault_ports import ClientCertificate
from tests.integration.vault.conftest import Tenant
from tests.support.administrator import handover_of
from tests.support.authorities import make_authority
from tests.support.vault_people import ask

ALL_RIGHTS = 'path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"] }'
POLICY_OF = {
    Who.OPERATOR: "mutx-operator", Who.ONBOARDER: "mutx-onboarder", Who.AGENT: "agent", Who.MACHINE: "machine",
    Who.DEPOSITOR: "depositor",
}  # fmt: skip
TRIAL = {Product.OPENBAO: {"vault-seal-01"}, Product.VAULT: set[str]()}
"""What fails because the tests' seal is a trial's; HashiCorp's server has no such seal."""


class Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nothing is to wait {seconds} s")


@pytest.fixture(scope="module")
def certificates(tenant: Tenant) -> dict[Who, ClientCertificate]:
    """Everybody's. Depositors have an authority of their own: whoever has one of the administrators' is one."""
    vault, depositors = tenant.vault, make_authority("acme depositors")
    role = CertificateRole("depositor", depositors.pem, (), ("depositor",), ())
    tenant.admin.write(f"auth/{CERT_AUTH}/certs/depositor", role.settings())
    return {
        Who.ONBOARDER: vault.client(vault.platform_ca, platform_common_name("mutx-onboarder", "acme")),
        Who.OPERATOR: vault.client(vault.platform_ca, platform_common_name("mutx-operator", "acme")),
        Who.OTHER_TENANT: vault.client(vault.platform_ca, platform_common_name("mutx-operator", "globex")),
        Who.AGENT: tenant.first.shown,
        Who.MACHINE: tenant.database.shown,
        Who.DEPOSITOR: vault.client(depositors, "dan"),
        Who.ADMIN: vault.client(vault.tenant_ca, "ann@acme.example"),
    }


@pytest.fixture(scope="module")
def handover(tenant: Tenant) -> Handover:
    machines = (
        Machine.model_validate({"name": f"acme-{key}", "key": key, "role": key[:-2], "address": "127.0.0.1"})
        for key in ("agent-1", "agent-2", "database-1")
    )
    return handover_of(tenant.vault, tuple(machines))


@pytest.fixture(scope="module")
def look(
    tenant: Tenant,
    certificates: dict[Who, ClientCertificate],
    handover: Handover,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Bundle]:
    """Return what makes a look, without some people's certificates."""
    tmp_path = tmp_path_factory.mktemp("evidence")

    def make(*without: Who) -> Bundle:
        at_hand = {who: shown for who, shown in certificates.items() if who not in without}
        names = ("mutx-operator@acme", "acme-agent-1", "ann@acme.example")
        with strangers(handover.admin_ca, names) as unknown:
            check = VaultCheck(
                handover, tenant.vault.url, tenant.vault.vault, Shown(at_hand, unknown),
                lambda: Volumes("nothing", None, "no cloud here"), EvidenceFiles(tmp_path), Clock(), {"test": "1"},
            )  # fmt: skip
            checked = check.run(lambda _: None)
        assert json.loads(Path(checked.path).read_text()) == json.loads(checked.bundle.content)
        return checked.bundle

    return make


def _by(bundle: Bundle, verdict: Verdict) -> set[str]:
    return {check.control for check in bundle.checks if check.verdict is verdict}


@pytest.fixture(scope="module")
def kept(look: Callable[..., Bundle]) -> Bundle:
    """The look at a Vault as it should be."""
    return look()


@pytest.fixture(scope="module")
def weakened(tenant: Tenant, look: Callable[..., Bundle], kept: Bundle) -> Bundle:
    """The look at one where everybody may do everything; it leaves nothing behind all the same.

    After the other one, in which everybody got the identity that a first login makes.
    """
    before = _world(tenant)
    with ExitStack() as stack:
        for name in POLICY_OF.values():
            stack.enter_context(_policy(tenant, name, ALL_RIGHTS))
        bundle = look()
    assert _world(tenant) == before, "the look left something behind"
    return bundle


def test_all_claims_are_kept_but_that_of_the_trial_s_seal(tenant: Tenant, kept: Bundle) -> None:
    product = tenant.vault.product
    assert _by(kept, Verdict.FAIL) == TRIAL[product]
    assert _by(kept, Verdict.UNKNOWN) == {"vault-volume-01"}
    assert len(kept.checks) == len(claims("", product)) + len(readings(product))
    assert not kept.subject.is_production


def test_what_nobody_at_hand_can_try_is_unknown(look: Callable[..., Bundle]) -> None:
    bundle = look(*Who)

    of_others = {
        check.control
        for check in bundle.checks
        if not check.control.startswith(("vault-anybody", "vault-stranger", "vault-seal"))
    }
    assert _by(bundle, Verdict.UNKNOWN) == of_others
    assert all(check.reason for check in bundle.checks if check.verdict is Verdict.UNKNOWN)


def test_a_certificate_that_logs_in_nowhere_proves_nothing(
    look: Callable[..., Bundle], certificates: dict[Who, ClientCertificate]
) -> None:
    right, certificates[Who.OPERATOR] = certificates[Who.OPERATOR], certificates[Who.OTHER_TENANT]
    try:
        bundle = look(*(set(Who) - {Who.OPERATOR}))
    finally:
        certificates[Who.OPERATOR] = right

    unknown = {control for control in _by(bundle, Verdict.UNKNOWN) if control.startswith("vault-operator")}
    assert unknown == {c.control.id for c in claims("") if c.who is Who.OPERATOR} - {"vault-operator-20"}


@pytest.mark.parametrize("who", POLICY_OF)
def test_each_claim_about_somebody_fails_once_they_may_do_everything(weakened: Bundle, who: Who) -> None:
    theirs = {claim.control.id for claim in claims("") if claim.who is who}
    # Roles of certificates, and what the authority's own settings refuse, stand behind the policy.
    behind = {f"vault-{who}-20", f"vault-{who}-31", f"vault-{who}-32"} - {"vault-depositor-31"}

    assert theirs - behind <= _by(weakened, Verdict.FAIL)
    assert "vault-policy-01" in _by(weakened, Verdict.FAIL)


@pytest.mark.parametrize("who", POLICY_OF)
def test_what_was_made_by_an_attempt_that_succeeded_is_taken_away_again(weakened: Bundle, who: Who) -> None:
    told = next(check.reason for check in weakened.checks if check.control == f"vault-{who}-04")

    assert told.count("was made and taken away again") == 2


def test_a_login_that_takes_any_name_is_found(tenant: Tenant, look: Callable[..., Bundle]) -> None:
    with _role(tenant, "mutx-operator", {"allowed_common_names": "mutx-operator@*"}):
        bundle = look(*(set(Who) - {Who.OTHER_TENANT}))

    assert {"vault-tenants-01"} | TRIAL[tenant.vault.product] == _by(bundle, Verdict.FAIL)


def test_a_platform_that_is_the_tenant_s_administrator_is_found(
    tenant: Tenant, look: Callable[..., Bundle]
) -> None:
    with _role(
        tenant, "tenant-admin", {"certificate": tenant.vault.tenant_ca.pem + tenant.vault.platform_ca.pem}
    ):
        bundle = look()

    assert {"vault-tenants-01", "vault-operator-20", "vault-onboarder-20"} <= _by(bundle, Verdict.FAIL)


def test_a_login_that_lasts_too_long_is_found(tenant: Tenant, look: Callable[..., Bundle]) -> None:
    kept = tenant.admin.read(f"auth/{CERT_AUTH}/certs/acme-agent-2")
    assert kept is not None
    wrong: dict[str, dict[str, Any]] = {
        "wrong-default": {"token_no_default_policy": False},
        "wrong-life": {"token_ttl": "2h", "token_max_ttl": "2h"},
        "wrong-longest": {"token_max_ttl": "48h"},
        "wrong-period": {"token_period": "15m"},
    }
    for name, settings in wrong.items():
        tenant.admin.write(f"auth/{CERT_AUTH}/certs/{name}", {**kept, **settings})
    try:
        bundle = look(*(set(Who) - {Who.ADMIN}))
    finally:
        for name in wrong:
            tenant.admin.delete(f"auth/{CERT_AUTH}/certs/{name}")

    failed = next(check for check in bundle.checks if check.control == "vault-lifetime-01")
    assert failed.verdict is Verdict.FAIL
    assert failed.reason == f"not so: {', '.join(wrong)}"


def test_a_token_at_hand_that_lasts_too_long_is_found(tenant: Tenant, look: Callable[..., Bundle]) -> None:
    with _role(tenant, "acme-agent-1", {"token_ttl": "16m", "token_max_ttl": "24h"}):
        bundle = look(*(set(Who) - {Who.ADMIN, Who.AGENT}))

    assert {"vault-lifetime-01", "vault-lifetime-02"} | TRIAL[tenant.vault.product] == _by(
        bundle, Verdict.FAIL
    )


def test_an_authority_whose_certificates_last_is_found(tenant: Tenant, look: Callable[..., Bundle]) -> None:
    path = "pki/roles/acme-agent-1"
    role = tenant.admin.read(path)
    assert role is not None
    tenant.admin.write(path, {**role, "not_after_bound": "permit", "cn_validations": ["email", "hostname"]})
    try:
        with _policy(
            tenant, "machine", 'path "pki/issue/+" { capabilities = ["update"] }\n' + _reading_itself()
        ):
            bundle = look()
    finally:
        tenant.admin.write(path, role)

    assert {"vault-agent-31", "vault-agent-32"} <= _by(bundle, Verdict.FAIL)


def test_the_evidence_holds_no_token_and_no_key(kept: Bundle) -> None:
    text = kept.content.decode()

    assert not re.search(r"\bs\.[A-Za-z0-9]{20}|sk-of|BEGIN", text)


def test_the_command_writes_evidence_and_exits_6(
    tenant: Tenant, certificates: dict[Who, ClientCertificate], handover: Handover, tmp_path: Path
) -> None:
    (tmp_path / "acme.vault.json").write_text(handover.text())
    shown = [f"--as={who}={files.certificate},{files.key}" for who, files in certificates.items()]

    ran = _run(tmp_path, "acme", *shown, "--json")

    document = json.loads(ran.stdout)
    failed = {check["control"] for check in document["checks"] if check["verdict"] == "fail"}
    assert (ran.returncode, failed) == (6, TRIAL[tenant.vault.product]), ran.stderr
    assert Path(document["path"]).is_file()
    assert f"error[vault-not-as-claimed]: {len(failed) + 1} claim(s)" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["acme", "--as", "root=a,b"], 2, "vault-as-invalid"),
        (["acme", "--as", "operator=a"], 2, "vault-as-invalid"),
        (["globex", "--vault", "acme.vault.json"], 3, "handover-tenant"),
        (["globex"], 3, "handover-missing"),
        (["acme", "--address", "https://127.0.0.1:1"], 5, "vault-unreachable"),
    ],
    ids=["nobody", "half a pair", "another tenant's file", "no file", "nothing there"],
)
def test_a_command_that_makes_no_sense_says_so(
    tenant: Tenant, handover: Handover, tmp_path: Path, arguments: list[str], status: int, code: str
) -> None:
    (tmp_path / "acme.vault.json").write_text(handover.text())

    ran = _run(tmp_path, *arguments)

    assert ran.returncode == status, ran.stderr
    assert f"error[{code}]" in ran.stderr
    assert not list(tmp_path.rglob("*Z-*.json")), "evidence of nothing"


def _run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "mutx-infra"), "vault", "check", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=120)


@contextmanager
def _policy(tenant: Tenant, name: str, text: str) -> Iterator[None]:
    kept = tenant.admin.read(f"sys/policies/acl/{name}")
    assert kept is not None
    tenant.admin.write(f"sys/policies/acl/{name}", {"policy": text})
    try:
        yield
    finally:
        tenant.admin.write(f"sys/policies/acl/{name}", {"policy": kept["policy"]})


@contextmanager
def _role(tenant: Tenant, name: str, settings: dict[str, Any]) -> Iterator[None]:
    path = f"auth/{CERT_AUTH}/certs/{name}"
    kept = tenant.admin.read(path)
    assert kept is not None
    tenant.admin.write(path, {**kept, **settings})
    try:
        yield
    finally:
        tenant.admin.write(path, dict(kept))


def _reading_itself() -> str:
    return 'path "auth/token/+" { capabilities = ["read", "update"] }'


def _world(tenant: Tenant) -> dict[str, object]:
    """Everything that attempts could leave behind."""
    token = tenant.admin_token
    listed = {
        path: ask(tenant.vault, "LIST", path, token=token).content.get("data")
        for path in (
            "sys/policies/acl", "sys/policies/password", "identity/entity/name", "identity/group/name",
            f"auth/{CERT_AUTH}/certs", "auth/token/roles", "byok/metadata/shared", "byok/metadata/agents/agent-1",
            "cubbyhole",
        )
    }  # fmt: skip
    read = {
        path: sorted(ask(tenant.vault, "GET", path, token=token).data)
        for path in ("sys/mounts", "sys/auth", "sys/audit")
    }
    return {**listed, **read}
