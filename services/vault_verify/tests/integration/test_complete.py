"""Nothing that the server lists, or keeps as a setting, is overlooked: its own description of its API says what is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from mutx_vault_verify.connection import Limits, parse_address
from mutx_vault_verify.expectation import expect
from mutx_vault_verify.handover import parse_handover
from mutx_vault_verify.main import make_context
from mutx_vault_verify.manifest import Manifest
from mutx_vault_verify.survey import survey
from mutx_vault_verify.vault import Vault
from tenant_vault import AGENT, TenantVault, vault_of

from mutx_infra.byok import Product
from tests.support.vault_product import SERVERS

NOT_READ = {
    # The tenant's keys: by name at most, and theirs alone.
    "/byok/data/{path}", "/byok/metadata/{path}", "/byok/detailed-metadata/{path}", "/byok/subkeys/{path}",
    "/cubbyhole/{path}",
    # The same things under another name.
    "/identity/alias/id", "/identity/alias/id/{id}", "/identity/persona/id", "/identity/persona/id/{id}",
    "/identity/entity/name", "/identity/entity/name/{name}", "/identity/group/name", "/identity/group/name/{name}",
    "/identity/entity-alias/id/{id}", "/sys/policy", "/sys/policy/{name}", "/sys/policies/detailed/acl",
    "/sys/policies/detailed/acl/{name}", "/sys/auth/{path}", "/sys/auth/{path}/tune", "/sys/mounts/{path}",
    "/sys/mounts/{path}/tune", "/sys/config/auditing/request-headers/{header}", "/sys/loggers/{name}",
    "/sys/plugins/catalog/{type}", "/sys/plugins/catalog/{type}/{name}", "/sys/plugins/catalog/{name}",
    "/sys/rotate/config", "/sys/generate-root", "/sys/generate-root/attempt", "/sys/rekey/init", "/sys/rekey/verify",
    "/sys/rekey/backup", "/sys/rekey/recovery-key-backup", "/ssh/issuer/{issuer_ref}", "/ssh/config/issuers",
    "/pki/certs/detailed", "/pki/certs/revoked", "/pki-machines/certs/detailed", "/pki-machines/certs/revoked",
    "/identity/mfa/method/duo", "/identity/mfa/method/okta", "/identity/mfa/method/pingid", "/identity/mfa/method/totp",
    "/pki/key/{key_ref}", "/pki-machines/key/{key_ref}",
    # Below lists that must be empty.
    "/identity/group/id/{id}", "/identity/group-alias/id/{id}", "/auth/cert/crls/{name}",
    "/auth/token/roles/{role_name}", "/sys/config/ui/headers/{header}", "/sys/namespaces/{path}",
    "/sys/policies/password/{name}", "/sys/quotas/rate-limit/{name}",
    # How things go, and no setting of the Vault's: nodes find dead ones by it; who asks for a root token.
    "/sys/storage/raft/autopilot/configuration", "/sys/version-history", "/sys/init", "/sys/leases",
    "/sys/mounts/auth/{path}/tune", "/sys/plugins/pins/{type}/{name}", "/sys/plugins/runtimes/catalog/{type}/{name}",
    "/sys/rotate/root/backup", "/sys/rotate/recovery/verify", "/sys/rotate/root/verify", "/auth/token/lookup",
    "/auth/token/lookup-self", "/sys/wrapping/lookup", "/sys/internal/specs/openapi", "/sys/storage/raft/snapshot",
}  # fmt: skip
_BELOW_EMPTY = re.compile(r"/(identity/(oidc|mfa)|sys/external-keys|sys/workflows|pki(-machines)?/cel)/.*\{")
_ENTERPRISE = re.compile(
    r"/sys/(config/control-group|config/group-policy-application|managed-keys|mfa|namespaces|policies/[er]gp"
    r"|quotas/lease-count|replication/performance|sealwrap|storage/raft/snapshot-auto)\b"
)
"""What HashiCorp's Community server describes and does not have; of most the manifest wants to hear so."""
_WITHOUT_STATE = re.compile(r"/(sys/pprof|pki(-machines)?/(acme|issuer/.*/|roles/.*/acme))")


class Recording(Vault):
    """Remembers what was asked."""

    asked: set[str] = set()  # noqa: RUF012 - one for the test

    def get(self, path):
        self.asked.add(f"/{path.partition('?')[0]}")
        return super().get(path)

    def names(self, path):
        self.asked.add(f"/{path}")
        return super().names(path)


@pytest.fixture(scope="module", params=SERVERS)
def vault(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TenantVault]:
    with vault_of(request.param, tmp_path_factory.mktemp("tenant")) as made:
        made.claim()
        made.enroll(AGENT, is_agent=True)
        yield made


def kept(paths: dict[str, dict]) -> set[str]:
    """Return the paths that list something, or that something can be written to and read from."""
    return {
        path
        for path, of in ((path.rstrip("/"), of) for path, of in paths.items())
        if "get" in of and (is_list(of) or {"post", "patch", "delete"} & of.keys())
        and not _BELOW_EMPTY.match(path) and not _WITHOUT_STATE.match(path)
    }  # fmt: skip


def is_list(of: dict) -> bool:
    return any(each["name"] == "list" for each in of["get"].get("parameters", []))


def test_all_that_the_server_keeps_is_read(vault):
    handover = parse_handover(vault.handover_file.read_text(), "")
    context = make_context(handover, vault.certificate.certificate, vault.certificate.key)
    source = Recording(parse_address(handover.url, None, None), context, Limits(15, 60))
    source.asked.clear()
    source.login("cert", "tenant-admin")
    manifest = vault.manifest()
    found = survey(
        source,
        expect(Manifest(manifest["release"], manifest), handover, datetime.now(UTC), takes_trial_seal=True),
    )
    with vault.as_admin() as admin:
        answer = admin.read("sys/internal/specs/openapi")
    source.end()

    assert answer is not None
    assert found.is_good
    paths = kept(answer["paths"]) - NOT_READ
    if vault.product is Product.VAULT:
        paths -= {path for path in paths if _ENTERPRISE.match(path)}
    assert len(paths) > 50
    overlooked = {path for path in paths if not any(covers(path, asked) for asked in source.asked)}
    assert overlooked == set()


def covers(path: str, asked: str) -> bool:
    pattern = "/".join(
        "[^/]+" if part.startswith("{") else re.escape(part) for part in path.rstrip("/").split("/")
    )
    return re.fullmatch(pattern, asked) is not None
