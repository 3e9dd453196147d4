"""Whatever somebody changes in a claimed Vault, exactly the check that it concerns fails, and names it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from tenant_vault import AGENT, GUARD, SSH_SETTINGS, TenantVault, vault_of

from mutx_infra.adapters.hvac_vault import HvacSession
from mutx_infra.byok import Product
from mutx_infra.vault.layout import OPERATOR, TENANT_ADMIN, issuing_role, make_layout, signing_role
from mutx_infra.vault.products import audit_request
from mutx_infra.vault.server import LOOPBACK
from tests.support.authorities import make_authority, signing_request
from tests.support.vault_people import ask, token_of

Act = Callable[[TenantVault, HvacSession], Any]
WIDE = 'path "byok/*" { capabilities = ["read"] }'
ROOT_TOKENS = {
    Product.OPENBAO: ("sys/generate-root-token", b"s."),
    Product.VAULT: ("sys/generate-root", b"hvs."),
}
OPENBAO, HASHICORP = frozenset({Product.OPENBAO}), frozenset({Product.VAULT})
STRANGER = make_authority("stranger").pem


@dataclass(frozen=True)
class Tampering:
    """Something that somebody does, how it is taken back, and the checks that must fail, as patterns.

    Attributes:
        on: servers that can do it at all.
    """

    name: str
    does: Act
    undoes: Act
    fails: Mapping[str, str]
    on: frozenset[Product] = field(default_factory=lambda: frozenset(Product))


def wrote(path: str, data: Mapping[str, Any]) -> Act:
    return lambda _vault, admin: admin.write(path, data)


def deleted(*paths: str) -> Act:
    def act(_vault: TenantVault, admin: HvacSession) -> None:
        for path in paths:
            admin.delete(path)

    return act


def new(name: str, path: str, data: Mapping[str, Any], check: str, status: str = "extra") -> Tampering:
    """Return one that writes something new, which deleting takes back."""
    return Tampering(name, wrote(path, data), deleted(path), {check: status})


def policy_edited(name: str, edit: Callable[[str], str], **more: Any) -> tuple[Act, Act]:
    """Return what edits a policy, and what puts it back as it was published."""

    def write(change: Callable[[str], str], extra: Mapping[str, Any]) -> Act:
        def act(vault: TenantVault, admin: HvacSession) -> None:
            text = vault.server.layout.policies[name]
            admin.write(f"sys/policies/acl/{name}", {"policy": change(text), **extra})

        return act

    return write(edit, more), write(lambda text: text, dict.fromkeys(more, False))


def role_edited(name: str, **changed: Any) -> tuple[Act, Act]:
    """Return what edits a role of the layout, and what puts it back."""

    def write(changes: Mapping[str, Any]) -> Act:
        def act(vault: TenantVault, admin: HvacSession) -> None:
            settings = next(role.settings() for role in vault.server.layout.roles if role.name == name)
            admin.write(f"auth/cert/certs/{name}", {**settings, **changes})

        return act

    return write(changed), write(dict.fromkeys(changed.keys() & {"token_num_uses"}, 0))


def machine_edited(path: str, **changed: Any) -> tuple[Act, Act]:
    """Return what edits what an enrolment made, and what writes it as it was read."""
    kept: dict[str, Any] = {}

    def edit(_vault: TenantVault, admin: HvacSession) -> None:
        kept.update(admin.read(path) or {})
        admin.write(path, {**kept, **changed})

    return edit, lambda _vault, admin: admin.write(path, kept)


def two_authorities(vault: TenantVault, admin: HvacSession) -> None:
    """Let a second authority's certificates in beside the tenant's own."""
    settings = vault.server.layout.roles[0].settings()
    admin.write(
        f"auth/cert/certs/{TENANT_ADMIN}", {**settings, "certificate": settings["certificate"] + STRANGER}
    )


def grouped(_vault: TenantVault, admin: HvacSession) -> None:
    entity = admin.read(f"identity/entity/name/{AGENT}")
    assert entity is not None
    admin.write("identity/group", {"name": "friends", "policies": ["tenant-admin"],
                                   "member_entity_ids": [entity["id"]]})  # fmt: skip


def begun(name: str, data: Mapping[str, Any]) -> tuple[Act, Act]:
    """Return what begins the making of new keys, and what cancels it; paths are each server's own."""

    def path(vault: TenantVault) -> str:
        return str(vault.manifest()["products"][vault.product]["begun"][name])

    nonces: list[str] = []

    def begin(vault: TenantVault, admin: HvacSession) -> None:
        nonces.append(admin.write(path(vault), data)["nonce"])

    def cancel(vault: TenantVault, admin: HvacSession) -> None:
        # HashiCorp's server lets others than who began it cancel some of them after ten minutes alone.
        answer = ask(vault.server, "DELETE", path(vault), {"nonce": nonces.pop()}, token=token_of(admin))
        assert answer.status == 204, answer

    return begin, cancel


def root_token(vault: TenantVault, admin: HvacSession) -> None:
    """Make a root token by the recovery keys, as whoever holds them can."""
    place, start = ROOT_TOKENS[vault.product]
    begun = admin.write(f"{place}/attempt", {})
    update = {"key": vault.shares[0], "nonce": begun["nonce"]}
    done = admin.write(f"{place}/update", update)
    sealed = base64.b64decode(done["encoded_token"] + "==")
    assert bytes(a ^ b for a, b in zip(sealed, begun["otp"].encode(), strict=True)).startswith(start)


def audit_back(vault: TenantVault, admin: HvacSession) -> None:
    admin.write(*audit_request(str(vault.server.audit_log)))


def no_foreign_tokens(_vault: TenantVault, admin: HvacSession) -> None:
    """End every token that no login gave."""
    for accessor in admin.list("auth/token/accessors"):
        token = admin.write("auth/token/lookup-accessor", {"accessor": accessor})
        if token["path"] != "auth/cert/login" or token.get("bound_cidrs") == ["127.0.0.0/8"]:
            admin.write("auth/token/revoke-accessor", {"accessor": accessor})


def stray_certificate(vault: TenantVault, admin: HvacSession) -> None:
    """Have the authority of hosts certify somebody who is no host, and take the right to it away again."""
    admin.write("pki-machines/roles/stray", signing_role("stray"))
    admin.write("pki-machines/sign/stray", {"csr": signing_request(vault.folder, "stray")[0]})
    admin.delete("pki-machines/roles/stray")


def no_stray_certificate(_vault: TenantVault, admin: HvacSession) -> None:
    for serial in admin.list("pki-machines/certs"):
        answer = admin.read(f"pki-machines/cert/{serial}")
        assert answer is not None
        if "stray" in x509.load_pem_x509_certificate(answer["certificate"].encode()).subject.rfc4514_string():
            admin.write("pki-machines/revoke", {"serial_number": serial})


def no_totp(_vault: TenantVault, admin: HvacSession) -> None:
    for method in admin.list("identity/mfa/method"):
        admin.delete(f"identity/mfa/method/totp/{method}")


def another_name(_vault: TenantVault, admin: HvacSession) -> None:
    """Let somebody else's certificate be the agent."""
    entity, methods = admin.read(f"identity/entity/name/{AGENT}"), admin.read("sys/auth")
    assert entity is not None
    assert methods is not None
    alias = {
        "name": "eve@acme.example",
        "canonical_id": entity["id"],
        "mount_accessor": methods["token/"]["accessor"],
    }
    admin.write("identity/entity-alias", alias)


def no_other_name(_vault: TenantVault, admin: HvacSession) -> None:
    for alias in admin.list("identity/entity-alias/id"):
        answer = admin.read(f"identity/entity-alias/id/{alias}")
        assert answer is not None
        if answer["name"] == "eve@acme.example":
            admin.delete(f"identity/entity-alias/id/{alias}")


def revocations(vault: TenantVault, admin: HvacSession) -> None:
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(vault.server.platform_ca.certificate.subject, now, now)
    signed = builder.sign(vault.server.platform_ca.key, hashes.SHA256())
    admin.write("auth/cert/crls/any", {"crl": signed.public_bytes(serialization.Encoding.PEM).decode()})


def second_root(_vault: TenantVault, admin: HvacSession) -> None:
    admin.write(
        "pki-machines/issuers/generate/root/internal",
        {"common_name": "acme machines", "issuer_name": "second"},
    )


def no_second_root(_vault: TenantVault, admin: HvacSession) -> None:
    issuer = admin.read("pki-machines/issuer/second")
    assert issuer is not None
    admin.delete("pki-machines/issuer/second")
    admin.delete(f"pki-machines/key/{issuer['key_id']}")
    for serial in admin.list("pki-machines/certs"):
        answer = admin.read(f"pki-machines/cert/{serial}")
        assert answer is not None
        if answer["certificate"].strip() == issuer["certificate"].strip():
            admin.write("pki-machines/revoke", {"serial_number": serial})


def entity_edited(**changed: Any) -> Act:
    return lambda _vault, admin: admin.write(f"identity/entity/name/{AGENT}", changed)


def person_edited(**changed: Any) -> Act:
    def act(vault: TenantVault, admin: HvacSession) -> None:
        own = admin.read("auth/token/lookup-self")
        assert own is not None
        admin.write(f"identity/entity/id/{own['entity_id']}", changed)

    return act


def onboarder_back(vault: TenantVault, admin: HvacSession) -> None:
    role = next(role for role in vault.server.layout.roles if role.name == "mutx-onboarder")
    admin.write("auth/cert/certs/mutx-onboarder", role.settings())


def foreign_authority(vault: TenantVault, admin: HvacSession) -> None:
    layout = make_layout("acme", vault.server.layout.policies, vault.server.tenant_ca.pem, STRANGER, LOOPBACK)
    admin.write(f"auth/cert/certs/{OPERATOR}", next(r for r in layout.roles if r.name == OPERATOR).settings())


def authority_back(vault: TenantVault, admin: HvacSession) -> None:
    admin.write(
        f"auth/cert/certs/{OPERATOR}",
        next(r for r in vault.server.layout.roles if r.name == OPERATOR).settings(),
    )


AGENT_ROLE = f"auth/cert/certs/{AGENT}"
ENTITY_BACK = entity_edited(policies=[], metadata={"host": AGENT, "agent_id": "agent-1"}, disabled=False)
NO_PERSON = person_edited(policies=[], metadata={})

TAMPERINGS = [
    new("extra-policy", "sys/policies/acl/helper", {"policy": WIDE}, "policy helper"),
    new("extra-policy-below", "sys/policies/acl/agent/more", {"policy": WIDE}, "policy agent/more"),
    Tampering("one-letter-of-a-policy", *policy_edited("agent", lambda text: text.replace("/+", "/*", 1)),
              {"policy agent": "differs"}),
    Tampering("a-space-in-a-policy", *policy_edited("depositor", lambda text: text + " "),
              {"policy depositor": "differs"}),
    Tampering("wildcards-in-templates", *policy_edited("agent", lambda text: text,
                                                       allow_wildcards_in_identity_templates=True),
              {"policy agent": "differs"}, on=OPENBAO),
    Tampering("the-default-policy", wrote("sys/policies/acl/default", {"policy": WIDE}),
              lambda vault, admin: admin.write("sys/policies/acl/default", {"policy": vault.default_policy}),
              {"policy default": "differs"}),
    Tampering("policy-gone", deleted("sys/policies/acl/depositor"), policy_edited("depositor", lambda text: text)[1],
              {"policy depositor": "missing"}),
    new("extra-role", "auth/cert/certs/friend", {"certificate": STRANGER, "token_policies": "tenant-admin"},
        "role friend"),
    Tampering("onboarder-back", onboarder_back, deleted("auth/cert/certs/mutx-onboarder"), {"claim": "differs"}),
    Tampering("operator-s-role-gone", deleted(f"auth/cert/certs/{OPERATOR}"), authority_back,
              {f"role {OPERATOR}": "missing"}),
    Tampering("another-authority", foreign_authority, authority_back, {f"hand-over role {OPERATOR}": "differs",
                                                                       "hand-over role mutx-onboarder": "differs"}),
    Tampering("a-second-authority-of-admins", two_authorities, role_edited(TENANT_ADMIN)[1],
              {f"role {TENANT_ADMIN}": "differs", f"hand-over role {TENANT_ADMIN}": "differs"}),
    Tampering("longer-ttl", *role_edited(OPERATOR, token_ttl="24h", token_max_ttl="9999h"),
              {f"role {OPERATOR}": "differs"}),
    Tampering("removed-cidr", *role_edited(OPERATOR, token_bound_cidrs=[]), {f"role {OPERATOR}": "differs"}),
    Tampering("wider-cidr", *role_edited(OPERATOR, token_bound_cidrs=["127.0.0.0/8"]),
              {f"role {OPERATOR}": "differs"}),
    Tampering("more-policies", *role_edited(OPERATOR, token_policies=["mutx-operator", "tenant-admin"]),
              {f"role {OPERATOR}": "differs"}),
    Tampering("any-common-name", *role_edited(OPERATOR, allowed_common_names=["*"]),
              {f"role {OPERATOR}": "differs"}),
    Tampering("batch-tokens", *role_edited(OPERATOR, token_type="batch"), {f"role {OPERATOR}": "differs"}),
    Tampering("uses", *role_edited(TENANT_ADMIN, token_num_uses=500),
              {f"role {TENANT_ADMIN}": "differs", "token *": "differs"}),
    Tampering("machine-s-cidr", *machine_edited(AGENT_ROLE, token_bound_cidrs=[]), {f"machine {AGENT}": "differs"}),
    Tampering("machine-is-an-agent", *machine_edited(f"auth/cert/certs/{GUARD}", token_policies=["machine", "agent"]),
              {f"machine {GUARD}": "differs"}),
    Tampering("machine-s-authority", *machine_edited(AGENT_ROLE, certificate=STRANGER),
              {f"machine {AGENT}": "differs"}),
    Tampering("enrolled-in-part", deleted(f"pki/roles/{GUARD}"), wrote(f"pki/roles/{GUARD}", issuing_role(GUARD)),
              {f"pki role {GUARD}": "missing"}),
    Tampering("widened-names", *machine_edited(f"pki/roles/{AGENT}", allowed_domains=[AGENT, GUARD]),
              {f"pki role {AGENT}": "differs"}),
    Tampering("widened-any-name", *machine_edited(f"pki/roles/{AGENT}", allow_any_name=True),
              {f"pki role {AGENT}": "differs"}),
    Tampering("widened-time", *machine_edited(f"pki-machines/roles/{AGENT}", not_after_bound="permit"),
              {f"pki-machines role {AGENT}": "differs"}, on=OPENBAO),
    Tampering("widened-date", *machine_edited(f"pki-machines/roles/{AGENT}", not_after="2099-01-01T00:00:00Z"),
              {f"pki-machines role {AGENT}": "differs"}, on=HASHICORP),
    new("pki-role-of-nobody", "pki-machines/roles/nobody", signing_role("nobody"), "pki-machines role nobody"),
    Tampering("a-certificate-of-nobody", stray_certificate, no_stray_certificate,
              {"pki-machines certificate *": "extra"}),
    Tampering("a-second-root", second_root, no_second_root,
              {"pki-machines issuers": "differs", "pki-machines keys": "differs", f"machine {AGENT}": "differs",
               f"machine {GUARD}": "differs"}),
    Tampering("acme", wrote("pki/config/acme", {"eab_policy": "always-required"}),
              wrote("pki/config/acme", {"eab_policy": "not-required"}), {"setting pki/config/acme": "differs"}),
    new("extra-engine", "sys/mounts/aside", {"type": "kv"}, "engine aside/"),
    Tampering("tuned-engine", wrote("sys/mounts/byok/tune", {"audit_non_hmac_request_keys": ["data"]}),
              wrote("sys/mounts/byok/tune", {"audit_non_hmac_request_keys": []}), {"engine byok/": "differs"}),
    new("userpass", "sys/auth/userpass", {"type": "userpass"}, "login method userpass/"),
    new("approle", "sys/auth/machines", {"type": "approle"}, "login method machines/"),
    Tampering("tuned-login", wrote("sys/auth/cert/tune", {"max_lease_ttl": "9000h"}),
              wrote("sys/auth/cert/tune", {"max_lease_ttl": "0"}), {"login method cert/": "differs"}),
    Tampering("no-binding", wrote("auth/cert/config", {"disable_binding": True}),
              wrote("auth/cert/config", {"disable_binding": False}), {"setting auth/cert/config": "differs"}),
    Tampering("entity-s-policy", entity_edited(policies=["tenant-admin"]), ENTITY_BACK,
              {f"identity {AGENT}": "differs"}),
    Tampering("another-agent-s-id", entity_edited(metadata={"host": AGENT, "agent_id": "agent-2"}), ENTITY_BACK,
              {f"identity {AGENT}": "differs"}),
    Tampering("person-with-an-agent-s-id", person_edited(metadata={"agent_id": "agent-1"}), NO_PERSON,
              {"identity ann@acme.example": "differs"}),
    new("extra-entity-with-policy", "identity/entity/name/ghost", {"policies": ["tenant-admin"]}, "identity ghost",
        "differs"),
    Tampering("group-with-policy", grouped, deleted("identity/group/name/friends"),
              {"identity/group/id *": "extra", f"identity {AGENT}": "differs"}),
    new("oidc-assignment", "identity/oidc/assignment/all", {"entity_ids": ["*"], "group_ids": ["*"]},
        "identity/oidc/assignment all"),
    new("oidc-client", "identity/oidc/client/web", {"redirect_uris": ["https://example.org"]},
        "identity/oidc/client web"),
    Tampering("root-token", root_token, no_foreign_tokens, {"token *": "extra"}),
    Tampering("generate-root-begun", *begun("generate-root", {}), {"generate-root": "differs"}),
    Tampering("recovery-rotation-begun",
              *begun("rotation of recovery keys", {"secret_shares": 1, "secret_threshold": 1}),
              {"rotation of recovery keys": "differs"}),
    Tampering("orphan-token", wrote("auth/token/create-orphan", {"policies": ["agent"], "ttl": "20h"}),
              no_foreign_tokens, {"token *": "extra", "lease auth/token/create*": "extra"}),
    Tampering("periodic-token", wrote("auth/token/create", {"policies": ["tenant-admin"], "period": "20h",
                                                            "no_parent": True}),
              no_foreign_tokens, {"token *": "extra", "lease auth/token/create*": "extra"}),
    new("token-role", "auth/token/roles/any", {"allowed_policies": ["tenant-admin"]}, "auth/token/roles any"),
    Tampering("cas-off", wrote("byok/config", {"cas_required": False}), wrote("byok/config", {"cas_required": True}),
              {"setting byok/config": "differs"}),
    Tampering("one-version", wrote("byok/config", {"max_versions": 1}), wrote("byok/config", {"max_versions": 10}),
              {"setting byok/config": "differs"}),
    new("extra-ssh-role", "ssh/roles/root", {**SSH_SETTINGS, "allowed_users": "root"}, "ssh role root"),
    Tampering("ssh-for-root", wrote("ssh/roles/operator", {**SSH_SETTINGS, "allowed_users": "mutx, root"}),
              wrote("ssh/roles/operator", SSH_SETTINGS), {"ssh role operator": "differs"}),
    Tampering("ssh-for-a-day", wrote("ssh/roles/operator", {**SSH_SETTINGS, "ttl": "24h", "max_ttl": "24h"}),
              wrote("ssh/roles/operator", SSH_SETTINGS), {"ssh role operator": "differs"}),
    Tampering("ssh-for-hosts", wrote("ssh/roles/operator", {**SSH_SETTINGS, "allow_host_certificates": True,
                                                            "allowed_domains": "acme"}),
              wrote("ssh/roles/operator", {**SSH_SETTINGS, "allow_host_certificates": False, "allowed_domains": ""}),
              {"ssh role operator": "differs"}),
    Tampering("namespace", wrote("sys/namespaces/child", {}), deleted("sys/namespaces/child"),
              {"sys/namespaces child/": "extra"}, on=OPENBAO),
    new("rate-limit", "sys/quotas/rate-limit/slow", {"rate": 10000}, "sys/quotas/rate-limit slow"),
    Tampering("cors", wrote("sys/config/cors", {"allowed_origins": ["https://example.org"]}),
              deleted("sys/config/cors"), {"setting sys/config/cors": "differs"}),
    new("ui-header", "sys/config/ui/headers/X-Other", {"values": ["1"]}, "sys/config/ui/headers X-Other"),
    new("password-policy", "sys/policies/password/short", {"policy": 'length=8\nrule "charset" { charset="abc" }'},
        "sys/policies/password short"),
    new("audited-header", "sys/config/auditing/request-headers/X-Vault-Token", {"hmac": False},
        "setting sys/config/auditing/request-headers", "differs"),
    Tampering("loud-log", wrote("sys/loggers/core", {"level": "trace"}), wrote("sys/loggers/core", {"level": "info"}),
              {"log level": "differs"}),
    Tampering("revocations", revocations, deleted("auth/cert/crls/any"), {"auth/cert/crls any": "extra"}),
    Tampering("ssh-with-any-extension", wrote("ssh/roles/operator", {**SSH_SETTINGS, "allowed_extensions": "*"}),
              wrote("ssh/roles/operator", {**SSH_SETTINGS, "allowed_extensions": ""}),
              {"ssh role operator": "differs"}),
    Tampering("totp", wrote("identity/mfa/method/totp", {"issuer": "x", "period": 30}), no_totp,
              {"identity/mfa/method *": "extra"}),
    Tampering("another-name-of-an-agent", another_name, no_other_name, {f"identity {AGENT}": "differs"}),
    Tampering("no-audit-device", deleted("sys/audit/file"), audit_back, {"setting sys/audit": "differs"}, on=HASHICORP),
    Tampering("a-second-audit-device",
              lambda vault, admin: admin.write("sys/audit/second", {"type": "file", "options": {
                  "file_path": str(vault.server.audit_log) + ".2"}}),
              deleted("sys/audit/second"), {"setting sys/audit": "differs"}, on=HASHICORP),
    Tampering("an-audit-device-that-shows-all", *(
        lambda vault, admin, raw=raw: (admin.delete("sys/audit/file"), admin.write("sys/audit/file", {
            "type": "file", "options": {"file_path": str(vault.server.audit_log), "mode": "0600", **raw}}))
        for raw in ({"log_raw": "true"}, {})), {"setting sys/audit": "differs"}, on=HASHICORP),
    Tampering("unseal-rotation-begun",
              *begun("rotation of unseal keys", {"secret_shares": 1, "secret_threshold": 1}),
              {"rotation of unseal keys": "differs"}, on=HASHICORP),
    Tampering("usage-counted", wrote("sys/internal/counters/config", {"enabled": "enable"}),
              wrote("sys/internal/counters/config", {"enabled": "default"}),
              {"setting sys/internal/counters/config": "differs"}, on=HASHICORP),
]  # fmt: skip


def those_of(product: Product) -> list[Any]:
    """Return what can be done on one server."""
    return [pytest.param(each, id=each.name) for each in TAMPERINGS if product in each.on]


@contextmanager
def enrolled_vault(product: Product, folder: Path) -> Iterator[TenantVault]:
    """Yield a Vault that is claimed and has two hosts."""
    with vault_of(product, folder) as made:
        made.claim()
        made.enroll(AGENT, is_agent=True)
        made.enroll(GUARD, is_agent=False)
        with made.as_admin() as admin:
            default = admin.read("sys/policies/acl/default")
            assert default is not None
            made.default_policy = default["policy"]
        yield made


@pytest.fixture(scope="module")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TenantVault]:
    with enrolled_vault(Product.OPENBAO, tmp_path_factory.mktemp("tenant")) as made:
        yield made


@pytest.fixture(scope="module")
def hashicorp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TenantVault]:
    with enrolled_vault(Product.VAULT, tmp_path_factory.mktemp("tenant")) as made:
        yield made


# Two tests: of one, with a list of servers and tamperings, each case would start its own server.
@pytest.mark.parametrize("tampering", those_of(Product.OPENBAO))
def test_what_somebody_changed_is_named(openbao, tampering):
    assert_named(openbao, tampering)


@pytest.mark.full
@pytest.mark.parametrize("tampering", those_of(Product.VAULT))
def test_what_somebody_changed_is_named_on_hashicorp_s_server(hashicorp, tampering):
    assert_named(hashicorp, tampering)


def assert_named(vault: TenantVault, tampering: Tampering) -> None:
    """See that exactly the checks that it concerns fail, and pass again once it is taken back."""
    with vault.as_admin() as admin:
        tampering.does(vault, admin)
        try:
            verdict = vault.verify()
        finally:
            tampering.undoes(vault, admin)

        after = vault.verify()

    assert verdict.status == 6
    unforeseen = {
        n: s for n, s in verdict.failing.items() if not any(fnmatchcase(n, p) for p in tampering.fails)
    }
    unseen = {p: s for p, s in tampering.fails.items() if not any(
        fnmatchcase(n, p) and fnmatchcase(found, s) for n, found in verdict.failing.items())}  # fmt: skip
    assert (unforeseen, unseen) == ({}, {}), verdict.failing
    assert after.failing == {}


def test_there_are_enough_of_them():
    assert len({each.name for each in TAMPERINGS}) == len(TAMPERINGS) >= 25
