"""What the platform, or anybody, can do with what it holds: nothing. BYOK-3, each escalation a live attempt."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from mutx_infra.byok import Product
from mutx_infra.vault.layout import ONBOARDER, OPERATOR, TENANT_ADMIN, machine_role
from mutx_infra.vault.products import TRAITS
from mutx_infra.vault_ports import ClientCertificate
from tests.integration.vault.conftest import Tenant
from tests.support.authorities import Authority, make_authority
from tests.support.vault import RunningVault
from tests.support.vault_people import Answer, ask, login, token_of

DENIED, NO_SUCH, NOT_SO, NO_VERB = 403, {404, 405}, 400, 405
PLATFORM = (ONBOARDER, OPERATOR)

READS = (
    "byok/data/shared/anthropic", "byok/data/agents/agent-1/openai", "byok/metadata/agents/agent-1/openai",
    "byok/subkeys/shared/anthropic", "byok/config", "cubbyhole/x", "auth/cert/config", "auth/token/accessors",
    "identity/entity/name/acme-agent-1", "identity/oidc/key/default", "identity/oidc/token/x", "pki/roles/acme-agent-1",
    "pki/config/urls", "pki/certs", "ssh/config/ca", "ssh/roles/operator", "sys/audit", "sys/capabilities-self",
    "sys/config/state/sanitized", "sys/config/cors", "sys/external-keys/configs", "sys/ha-status", "sys/host-info",
    "sys/in-flight-req", "sys/internal/counters/requests", "sys/internal/inspect/router/root",
    "sys/internal/ui/mounts/byok", "sys/internal/ui/resultant-acl", "sys/key-status", "sys/leases/count",
    "sys/leases/lookup/auth/cert", "sys/metrics", "sys/monitor", "sys/namespaces", "sys/namespaces/acme",
    "sys/plugins/catalog", "sys/policies/password/x", "sys/pprof/", "sys/quotas/config", "sys/rotate/config",
    "sys/rotate/recovery/init", "sys/storage/raft/snapshot", "sys/version-history",
)  # fmt: skip
WRITES: tuple[tuple[str, dict[str, object]], ...] = (
    ("sys/policies/acl/mutx-operator", {"policy": 'path "*" { capabilities = ["read"] }'}),
    ("sys/policies/acl/agent", {"policy": 'path "*" { capabilities = ["read"] }'}),
    ("sys/policy/mutx-operator", {"policy": 'path "*" { capabilities = ["read"] }'}),
    ("sys/policies/password/x", {"policy": "length = 1"}),
    ("auth/cert/certs/mutx-operator", {"token_policies": "tenant-admin"}),
    ("auth/cert/certs/mutx-evil", {"certificate": "x", "token_policies": "tenant-admin"}),
    ("auth/cert/config", {"disable_binding": True}),
    ("auth/cert/crls/x", {"crl": "x"}),
    ("auth/token/create", {"policies": ["tenant-admin"]}),
    ("auth/token/create-orphan", {}),
    ("auth/token/roles/x", {"allowed_policies": "tenant-admin"}),
    ("auth/token/renew-self", {}),
    ("auth/token/lookup", {"token": "s.x"}),
    ("auth/token/revoke-accessor", {"accessor": "x"}),
    ("identity/entity", {"name": "mutx-operator@acme", "policies": ["tenant-admin"]}),
    ("identity/entity/name/acme-agent-1", {"metadata": {"agent_id": "agent-2"}}),
    ("identity/entity/merge", {"from_entity_ids": ["x"], "to_entity_id": "y"}),
    ("identity/entity-alias", {"name": "mutx-operator@acme", "canonical_id": "x"}),
    ("identity/group", {"name": "x", "policies": ["tenant-admin"]}),
    ("identity/oidc/key/x", {"allowed_client_ids": "*"}),
    ("identity/oidc/role/x", {"key": "default"}),
    ("identity/oidc/provider/default", {"allowed_client_ids": "*"}),
    ("identity/mfa/method/totp", {"issuer": "x"}),
    ("byok/data/shared/anthropic", {"data": {"key": "x"}, "options": {"cas": 1}}),
    ("byok/config", {"cas_required": False}),
    ("byok/destroy/shared/anthropic", {"versions": [1]}),
    ("byok/metadata/shared/anthropic", {"max_versions": 1}),
    ("cubbyhole/x", {"a": "b"}),
    ("sys/audit/x", {"type": "file", "options": {"file_path": "/dev/null"}}),
    ("sys/audit-hash/file", {"input": "x"}),
    ("sys/auth/userpass", {"type": "userpass"}),
    ("sys/auth/cert/tune", {"default_lease_ttl": "9999h"}),
    ("sys/capabilities-accessor", {"accessor": "x", "paths": ["byok/data/x"]}),
    ("sys/config/auditing/request-headers/x", {"hmac": False}),
    ("sys/config/reload/audit", {}),
    ("sys/control-group/authorize", {"accessor": "x"}),
    ("sys/external-keys/configs/x", {"plugin": "x"}),
    ("sys/generate-root-token/attempt", {}),
    ("sys/leases/lookup", {"lease_id": "auth/cert/login/x"}),
    ("sys/leases/renew", {"lease_id": "auth/cert/login/x"}),
    ("sys/leases/revoke", {"lease_id": "auth/cert/login/x"}),
    ("sys/leases/revoke-prefix/auth/cert/login", {}),
    ("sys/mounts/byok/tune", {"audit_non_hmac_request_keys": ["data"]}),
    ("sys/mounts/evil", {"type": "kv"}),
    ("sys/namespaces/evil", {}),
    ("sys/plugins/catalog/secret/evil", {"sha256": "0" * 64, "command": "sh"}),
    ("sys/plugins/reload/backend", {"plugin": "kv"}),
    ("sys/quotas/rate-limit/x", {"rate": 0.001}),
    ("sys/remount", {"from": "byok", "to": "evil"}),
    ("sys/rotate", {}),
    ("sys/rotate/recovery/init", {"secret_shares": 1, "secret_threshold": 1}),
    ("sys/rotate/root/init", {"secret_shares": 1, "secret_threshold": 1}),
    ("sys/seal", {}),
    ("sys/step-down", {}),
    ("sys/storage/raft/remove-peer", {"server_id": "acme-vault-1"}),
    ("sys/storage/raft/autopilot/configuration", {"cleanup_dead_servers": True}),
    ("sys/storage/raft/snapshot-force", {}),
    ("sys/tools/random", {}),
    ("sys/tools/hash", {"input": "YQ=="}),
    ("sys/wrapping/wrap", {"a": "b"}),
    ("pki/issue/acme-agent-1", {"common_name": "acme-agent-1"}),
    ("pki/roles/acme-agent-1", {"allow_any_name": True}),
    ("pki/root/sign-intermediate", {"common_name": "x", "csr": "x"}),
    ("pki/config/acme", {"enabled": True}),
    ("pki/tidy", {}),
    ("pki-machines/sign/acme-agent-1", {"csr": "x"}),
    ("pki-machines/sign-verbatim/x", {"csr": "x"}),
    ("pki-machines/issue/acme-agent-1", {"common_name": "acme-agent-1"}),
    ("pki-machines/config/ca", {"pem_bundle": "x"}),
    ("ssh/config/ca", {"generate_signing_key": True}),
    ("ssh/roles/operator", {"key_type": "ca"}),
    ("ssh/sign/operator", {"public_key": "x"}),
)  # fmt: skip
DELETES = (
    "sys/policies/acl/agent", "sys/mounts/byok", "sys/auth/cert", "sys/audit/file", "auth/cert/certs/tenant-admin",
    "byok/data/shared/anthropic", "byok/metadata/shared/anthropic", "identity/entity/name/acme-agent-1", "pki/root",
    "ssh/config/ca", "sys/rotate/recovery/init", "sys/quotas/rate-limit/x",
)  # fmt: skip
LISTS = (
    "byok/metadata", "byok/metadata/agents", "byok/detailed-metadata", "identity/entity/id", "identity/group/id",
    "identity/entity-alias/id", "auth/token/accessors", "auth/token/roles", "pki/certs", "pki/roles",
    "pki/keys", "ssh/roles", "cubbyhole", "sys/leases/lookup", "sys/namespaces", "sys/plugins/catalog/secret",
    "sys/policies/password", "sys/raw", "sys/external-keys/configs",
)  # fmt: skip
ANYBODY_READS = (
    "byok/data/shared/anthropic", "sys/metrics", "sys/in-flight-req", "sys/pprof/", "sys/monitor", "sys/host-info",
    "sys/ha-status", "sys/audit", "sys/policies/acl/agent", "sys/storage/raft/snapshot",
    "sys/storage/raft/configuration",
    "sys/internal/ui/mounts/byok", "auth/cert/certs/tenant-admin", "auth/token/lookup-self", "identity/entity/id",
    "sys/generate-root/attempt", "sys/generate-root-token/attempt", "sys/generate-recovery-token/attempt",
    "sys/rekey/init", "sys/rekey-recovery-key/init", "sys/rotate/root/init", "sys/rotate/recovery/init",
    "pki/acme/directory", "pki/certs", "pki/roles/acme-agent-1", "ssh/roles/operator",
)  # fmt: skip
ANYBODY_WRITES: tuple[tuple[str, dict[str, object]], ...] = (
    ("sys/seal", {}),
    ("sys/step-down", {}),
    ("sys/init", {"recovery_shares": 1, "recovery_threshold": 1}),
    ("sys/generate-root/attempt", {}),
    ("sys/generate-root/update", {"key": "YQ==", "nonce": "x"}),
    ("sys/generate-root-token/attempt", {}),
    ("sys/generate-root-token/update", {"key": "YQ=="}),
    ("sys/generate-recovery-token/attempt", {}),
    ("sys/rekey/init", {"secret_shares": 1, "secret_threshold": 1}),
    ("sys/rekey/update", {"key": "YQ=="}),
    ("sys/rekey-recovery-key/init", {"secret_shares": 1, "secret_threshold": 1}),
    ("sys/rotate/root/init", {"secret_shares": 1, "secret_threshold": 1}),
    ("sys/rotate/recovery/init", {"secret_shares": 1, "secret_threshold": 1}),
    ("sys/rotate/recovery/update", {"key": "YQ=="}),
    ("sys/storage/raft/bootstrap/answer", {"answer": "YQ==", "server_id": "evil", "cluster_addr": "127.0.0.1:1"}),
    ("sys/wrapping/unwrap", {"token": "s.x"}),
    ("sys/wrapping/rewrap", {"token": "s.x"}),
    ("sys/mfa/validate", {"mfa_request_id": "x"}),
    ("auth/cert/login", {"name": "tenant-admin"}),
    ("auth/token/create", {}),
    ("auth/userpass/login/root", {"password": "root"}),
    ("auth/approle/login", {"role_id": "x"}),
    ("identity/oidc/provider/default/token", {"code": "x"}),
    ("pki/acme/new-account", {}),
    ("ssh/verify", {"otp": "x"}),
)  # fmt: skip


@pytest.fixture(scope="module")
def tokens(tenant: Tenant) -> Iterator[dict[str, str]]:
    """The platform's, for as long as the module runs; that they were good all the time is seen at the end."""
    made = {role: token_of(tenant.vault.as_platform(role)) for role in PLATFORM}
    yield made
    for role, token in made.items():
        assert ask(tenant.vault, "GET", "auth/token/lookup-self", token=token).data["policies"] == [role]


@pytest.mark.parametrize("role", PLATFORM)
@pytest.mark.parametrize("path", READS)
def test_the_platform_cannot_read(tenant: Tenant, tokens: dict[str, str], role: str, path: str) -> None:
    assert ask(tenant.vault, "GET", path, token=tokens[role]).status == DENIED


@pytest.mark.parametrize("role", PLATFORM)
@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("verb", ["LIST", "SCAN"])
def test_the_platform_cannot_list(
    tenant: Tenant, tokens: dict[str, str], role: str, path: str, verb: str
) -> None:
    # HashiCorp's server knows no such verb.
    is_known = verb != "SCAN" or tenant.vault.product is Product.OPENBAO

    assert ask(tenant.vault, verb, path, token=tokens[role]).status == (DENIED if is_known else NO_VERB)


@pytest.mark.parametrize("role", PLATFORM)
@pytest.mark.parametrize(("path", "data"), WRITES, ids=[path for path, _ in WRITES])
def test_the_platform_cannot_write(
    tenant: Tenant, tokens: dict[str, str], role: str, path: str, data: dict[str, object]
) -> None:
    assert ask(tenant.vault, "POST", path, data, token=tokens[role]).status == DENIED


@pytest.mark.parametrize("role", PLATFORM)
@pytest.mark.parametrize("path", DELETES)
def test_the_platform_cannot_delete(tenant: Tenant, tokens: dict[str, str], role: str, path: str) -> None:
    assert ask(tenant.vault, "DELETE", path, token=tokens[role]).status == DENIED


@pytest.mark.parametrize("path", ANYBODY_READS)
def test_nobody_reads_without_logging_in(tenant: Tenant, path: str) -> None:
    if path in TRAITS[tenant.vault.product].open_to_anybody:
        pytest.skip("shown to anybody by this server: docs/how-to/run-a-vault.md, what each server gives")
    assert ask(tenant.vault, "GET", path).status in {DENIED, *NO_SUCH}


@pytest.mark.parametrize(("path", "data"), ANYBODY_WRITES, ids=[path for path, _ in ANYBODY_WRITES])
def test_nobody_writes_without_logging_in(tenant: Tenant, path: str, data: dict[str, object]) -> None:
    if path in TRAITS[tenant.vault.product].open_to_anybody:
        pytest.skip("begun by anybody at this server: docs/how-to/run-a-vault.md, what each server gives")
    answer = ask(tenant.vault, "POST", path, data)

    assert answer.status in {DENIED, NOT_SO, *NO_SUCH}, answer
    assert not tenant.vault.vault.health().is_sealed


@pytest.mark.parametrize(
    "method", ["HEAD", "LIST", "SCAN", "PATCH", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"]
)
@pytest.mark.parametrize("role", PLATFORM)
def test_no_verb_gets_at_a_key(tenant: Tenant, tokens: dict[str, str], role: str, method: str) -> None:
    headers = {"Content-Type": "application/merge-patch+json", "X-HTTP-Method-Override": "GET"}
    data = {"data": {"key": "x"}, "options": {"cas": 1}} if method in {"PATCH", "PUT"} else None

    answer = ask(
        tenant.vault, method, "byok/data/shared/anthropic", data, token=tokens[role], headers=headers
    )

    assert answer.status in {DENIED, NOT_SO, *NO_SUCH}
    assert "sk-of-all" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "sys/policies/acl/../../../byok/data/shared/anthropic",
        "sys/policies/acl/%2e%2e/%2e%2e/%2e%2e/byok/data/shared/anthropic",
        "sys/policies/acl/..%2f..%2f..%2fbyok/data/shared/anthropic",
        "auth/cert/certs/..%2f..%2f..%2fbyok%2fdata%2fshared%2fanthropic",
        "sys//policies/acl//../../../byok/data/shared/anthropic",
        "./byok/data/shared/anthropic",
        "byok/data/shared/anthropic%00",
        "byok/data/shared/anthropic/",
        "BYOK/data/shared/anthropic",
    ],
)
def test_no_way_of_writing_a_path_gets_at_a_key(tenant: Tenant, tokens: dict[str, str], path: str) -> None:
    for role in PLATFORM:
        answer = ask(tenant.vault, "GET", path, token=tokens[role])

        assert answer.status in {307, DENIED, NOT_SO, *NO_SUCH}
        assert "sk-of-all" not in answer.text


@pytest.mark.parametrize("namespace", ["root", "/", "acme", "acme/../", "..", "%2e%2e"])
def test_a_namespace_in_a_header_changes_nothing(
    tenant: Tenant, tokens: dict[str, str], namespace: str
) -> None:
    for role in PLATFORM:
        headers = {"X-Vault-Namespace": namespace}
        answer = ask(tenant.vault, "GET", "byok/data/shared/anthropic", token=tokens[role], headers=headers)

        assert answer.status in {DENIED, NOT_SO, *NO_SUCH}


def test_the_platform_sees_no_engine_of_the_tenant_s_keys_by_the_user_interface(
    tenant: Tenant, tokens: dict[str, str]
) -> None:
    mounts = ask(tenant.vault, "GET", "sys/internal/ui/mounts", token=tokens[OPERATOR]).data

    assert not {"byok/", "pki/", "pki-machines/", "ssh/"} & set(mounts["secret"])


@pytest.mark.parametrize("role", PLATFORM)
def test_a_wrapped_answer_gives_a_token_that_is_good_for_that_answer_alone(
    tenant: Tenant, tokens: dict[str, str], role: str
) -> None:
    wrapped = ask(
        tenant.vault,
        "GET",
        "auth/token/lookup-self",
        token=tokens[role],
        headers={"X-Vault-Wrap-TTL": "9999h"},
    )
    token = str(wrapped.content["wrap_info"]["token"])

    for path in ("byok/data/shared/anthropic", "auth/token/lookup-self", "sys/mounts"):
        assert ask(tenant.vault, "GET", path, token=token).status in {DENIED, NOT_SO}
    assert ask(tenant.vault, "POST", "auth/token/create", {}, token=token).status in {DENIED, NOT_SO}


def test_nobody_moves_the_storage_to_another_seal(tenant: Tenant) -> None:
    answer = ask(tenant.vault, "POST", "sys/unseal", {"key": "YQ==", "migrate": True})

    assert "no migration seal" in answer.text
    assert not tenant.vault.vault.health().is_sealed


def test_joining_by_the_api_changes_no_cluster(tenant: Tenant, tokens: dict[str, str]) -> None:
    path = "sys/storage/raft/configuration"
    before = ask(tenant.vault, "GET", path, token=tokens[OPERATOR]).data

    ask(tenant.vault, "POST", "sys/storage/raft/join", {"leader_api_addr": "https://127.0.0.1:1"})
    ask(tenant.vault, "POST", "sys/storage/raft/bootstrap/challenge", {"server_id": "evil"})

    assert (
        ask(tenant.vault, "GET", path, token=tokens[OPERATOR]).data["config"]["servers"]
        == before["config"]["servers"]
    )


def test_what_the_server_says_of_capabilities_is_not_relied_on(tenant: Tenant) -> None:
    """It ignores parameters: what it calls allowed may be refused. Hence each claim is a live attempt."""
    policy = (
        'path "byok/config" { capabilities = ["update"]\n allowed_parameters = { "max_versions" = ["3"] } }'
    )
    tenant.admin.write("sys/policies/acl/narrow", {"policy": policy})
    token = ask(
        tenant.vault,
        "POST",
        "auth/token/create",
        {"policies": ["narrow"], "ttl": "60s"},
        token=tenant.admin_token,
    ).token

    said = ask(
        tenant.vault,
        "POST",
        "sys/capabilities",
        {"token": token, "paths": ["byok/config"]},
        token=tenant.admin_token,
    )
    answer = ask(tenant.vault, "POST", "byok/config", {"cas_required": False}, token=token)

    assert said.data["byok/config"] == ["update"]
    assert answer.status == DENIED


def test_an_exact_path_wins_against_a_wildcard_that_denies(tenant: Tenant) -> None:
    """So no deny protects anything: what counts is that the platform can neither write nor attach a policy."""
    tenant.admin.write("sys/policies/acl/denies", {"policy": 'path "byok/*" { capabilities = ["deny"] }'})
    tenant.admin.write(
        "sys/policies/acl/allows",
        {"policy": 'path "byok/data/shared/anthropic" { capabilities = ["read"] }'},
    )
    token = ask(
        tenant.vault, "POST", "auth/token/create", {"policies": ["denies", "allows"], "ttl": "60s"},
        token=tenant.admin_token,
    ).token  # fmt: skip

    assert ask(tenant.vault, "GET", "byok/data/shared/anthropic", token=token).status == 200


def test_the_platform_logs_in_as_nobody_else(tenant: Tenant) -> None:
    shown = tenant.vault.client(tenant.vault.platform_ca, "mutx-operator@acme")

    assert login(tenant.vault, shown).policies == [OPERATOR]
    for role in (
        TENANT_ADMIN,
        ONBOARDER,
        "acme-agent-1",
        "acme-database-1",
        "*",
        "+",
        "../certs/mutx-operator",
    ):
        assert login(tenant.vault, shown, role).is_refused, role


@pytest.mark.parametrize(
    "name",
    [
        "mutx-operator", "mutx-operator@globex", "mutx-operator@acme.", "mutx-operator@acme ", "MUTX-OPERATOR@acme",
        "mutx-operator@*", "*", "mutx-*@acme", "ann@acme.example", "tenant-admin", "acme-agent-1",
        "mutx-operator@acme,x",
    ],
)  # fmt: skip
def test_the_platform_s_authority_gives_no_other_name_any_right(tenant: Tenant, name: str) -> None:
    shown = _client(tenant.vault, "odd", tenant.vault.platform_ca, name)

    for role in ("", OPERATOR, ONBOARDER, TENANT_ADMIN, "acme-agent-1"):
        assert login(tenant.vault, shown, role).is_refused, role


@pytest.mark.parametrize("name", ["mutx-operator@acme", "ann@acme.example", "acme-agent-1"])
def test_a_foreign_authority_of_the_same_name_gives_nothing(tenant: Tenant, name: str) -> None:
    for subject in ("mutx platform", "acme administrators", "acme machines"):
        shown = _client(tenant.vault, "foreign", make_authority(subject), name)

        for role in ("", OPERATOR, TENANT_ADMIN, "acme-agent-1"):
            assert login(tenant.vault, shown, role).is_refused, (subject, role)


@pytest.mark.parametrize(
    "lifetime",
    [
        {"begins_in": timedelta(days=-2), "ends_in": timedelta(seconds=-5)},
        {"begins_in": timedelta(minutes=5), "ends_in": timedelta(days=1)},
    ],
    ids=["ended", "not begun"],
)
def test_a_certificate_outside_its_time_is_refused(tenant: Tenant, lifetime: dict[str, timedelta]) -> None:
    for authority, name in (
        (tenant.vault.platform_ca, "mutx-operator@acme"),
        (tenant.vault.tenant_ca, "ann"),
    ):
        folder = tenant.vault.folder / "people" / "late"
        folder.mkdir(exist_ok=True)
        shown = authority.client(folder, name, **lifetime)

        for role in ("", OPERATOR, TENANT_ADMIN):
            assert login(tenant.vault, shown, role).is_refused


def test_a_server_s_certificate_logs_nobody_in(tenant: Tenant) -> None:
    folder = tenant.vault.folder / "people" / "servers"
    folder.mkdir(exist_ok=True)
    shown = tenant.vault.platform_ca.server(folder, "mutx-operator@acme", "127.0.0.1")

    assert login(tenant.vault, shown, OPERATOR).is_refused


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-Ip", "Forwarded", "X-Vault-Forward"])
def test_the_platform_is_good_on_the_vault_host_alone(
    tenant: Tenant, tokens: dict[str, str], header: str
) -> None:
    shown = tenant.vault.client(tenant.vault.platform_ca, "mutx-operator@acme")
    headers = {header: "127.0.0.1"}
    # HashiCorp's server takes this one for its own, and says that it is turned off.
    refusals = {DENIED, NOT_SO} if header == "X-Vault-Forward" else {DENIED}

    assert login(tenant.vault, shown, OPERATOR, source="127.0.0.2", headers=headers).status in refusals
    for role in PLATFORM:
        answer = ask(
            tenant.vault,
            "GET",
            "auth/token/lookup-self",
            token=tokens[role],
            source="127.0.0.2",
            headers=headers,
        )
        assert answer.status in refusals


def test_a_token_that_was_given_back_is_of_no_use(tenant: Tenant) -> None:
    token = token_of(tenant.vault.as_operator())
    assert ask(tenant.vault, "POST", "auth/token/revoke-self", {}, token=token).status == 204

    assert ask(tenant.vault, "GET", "auth/token/lookup-self", token=token).status == DENIED


def test_a_login_that_is_gone_is_gone_for_certificates_that_are_good(tenant: Tenant) -> None:
    shown = tenant.vault.client(tenant.vault.platform_ca, "mutx-duty@acme")
    role = {
        **machine_role("x", "127.0.0.1", is_agent=False).settings(),
        "certificate": tenant.vault.platform_ca.pem,
    }
    tenant.admin.write("auth/cert/certs/duty", {**role, "allowed_common_names": ["mutx-duty@acme"]})
    token = login(tenant.vault, shown, "duty").token

    tenant.admin.delete("auth/cert/certs/duty")

    assert login(tenant.vault, shown, "duty").is_refused
    renewed = ask(tenant.vault, "POST", "auth/token/renew-self", {}, token=token, shown=shown)
    assert "auth" not in renewed.content


def test_tokens_of_the_platform_live_a_quarter_of_an_hour(tenant: Tenant, tokens: dict[str, str]) -> None:
    for role in PLATFORM:
        said = ask(tenant.vault, "GET", "auth/token/lookup-self", token=tokens[role]).data

        assert said["creation_ttl"] == 900
        assert said["policies"] == [role]
        assert said["bound_cidrs"] == ["127.0.0.1"]
        assert said["num_uses"] == 0
        assert "identity_policies" not in said


@pytest.mark.usefixtures("openbao_alone")
def test_the_audit_log_cannot_be_turned_off_by_anybody(tenant: Tenant) -> None:
    """Not by the tenant's administrators either, who may do everything."""
    for method, path in (("DELETE", "sys/audit/file"), ("POST", "sys/audit/more")):
        data = {"type": "file", "options": {"file_path": "/dev/null"}} if method == "POST" else None

        assert ask(tenant.vault, method, path, data, token=tenant.admin_token).status == NOT_SO


def test_no_root_token_is_made_by_anybody(tenant: Tenant) -> None:
    answer = ask(tenant.vault, "POST", "auth/token/create", {"policies": ["root"]}, token=tenant.admin_token)

    assert answer.status == NOT_SO
    assert not [a for a in _tokens(tenant) if "root" in a["policies"]]


def test_nothing_was_changed_by_all_this(tenant: Tenant) -> None:
    first = ask(tenant.vault, "GET", "byok/data/shared/anthropic", token=tenant.first.token(tenant.vault))

    assert first.data["data"] == {"key": "sk-of-all"}
    assert first.data["metadata"]["version"] == 1


def _tokens(tenant: Tenant) -> list[dict[str, object]]:
    accessors = tenant.admin.list("auth/token/accessors")
    found: list[Answer] = [
        ask(tenant.vault, "POST", "auth/token/lookup-accessor", {"accessor": a}, token=tenant.admin_token)
        for a in accessors
    ]
    return [answer.data for answer in found if answer.status == 200]


def _client(vault: RunningVault, folder: str, authority: Authority, name: str) -> ClientCertificate:
    people = vault.folder / "people" / folder
    people.mkdir(exist_ok=True)
    return authority.client(people, name)
