"""A claimed Vault of either server, as the release says, made of the manifest itself: any answer can be changed."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from make_vault_manifest import current_manifest
from mutx_vault_verify.certificate import fingerprints
from mutx_vault_verify.expectation import Expectation, expect
from mutx_vault_verify.handover import parse_handover
from mutx_vault_verify.manifest import Manifest
from mutx_vault_verify.problem import Unanswered

from mutx_infra.adapters.vault_templates import policy_texts
from mutx_infra.byok import Product
from mutx_infra.vault.handover import Handover, Machine
from mutx_infra.vault.layout import make_layout
from mutx_infra.vault.server import LOOPBACK

NOW = datetime.now(UTC)
HOST = "acme-agent-1"
_PLUGINS = (("secret", "kv"), ("secret", "pki"), ("secret", "ssh"), ("auth", "cert"))


@dataclass
class FakeVault:
    """Answers from two tables; what is in neither is not there.

    Attributes:
        answers: by path.
        lists: names by path.
        tokens: by accessor.
    """

    answers: dict[str, Any]
    lists: dict[str, list[str]]
    tokens: dict[str, Any] = field(default_factory=dict)

    def get(self, path: str) -> Mapping[str, Any] | None:
        found = self.answers.get(path)
        if isinstance(found, Unanswered):
            raise found
        if found is not None and not isinstance(found, dict):
            raise Unanswered(f"{path} is no object")
        return copy.deepcopy(found)

    def names(self, path: str) -> tuple[str, ...]:
        return tuple(sorted(self.lists.get(path, [])))

    def ask(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        assert path == "auth/token/lookup-accessor"
        return copy.deepcopy(self.tokens.get(body["accessor"]))


@cache
def _authorities() -> tuple[str, str, str, str]:
    """Return PEM of the tenant's, the platform's, the services' and the hosts' authority."""
    names = ("administrators", "platform", "acme services", "acme machines")
    made = [_root(name) for name in names]
    return made[0], made[1], made[2], made[3]


def _root(name: str) -> str:
    key, now = ec.generate_private_key(ec.SECP384R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    dated = builder.not_valid_before(now - timedelta(minutes=1)).not_valid_after(now + timedelta(days=30))
    made = dated.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(
        key, hashes.SHA384()
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


@cache
def manifest_data() -> dict[str, Any]:
    """Return the release's manifest, but for the texts that only a server has: here they are empty."""
    made = copy.deepcopy(current_manifest())
    for product in made["products"].values():
        product["builtin_policies"] = dict.fromkeys(
            product["builtin_policies"], hashlib.sha256(b"").hexdigest()
        )
    return made


@cache
def handover_text(product: Product = Product.OPENBAO) -> str:
    """Return the operator's file."""
    admin_ca, platform_ca, _, _ = _authorities()
    layout = make_layout("acme", policy_texts(), admin_ca, platform_ca, LOOPBACK)
    machine = Machine.model_validate(
        {"name": HOST, "key": "agent-1", "role": "agent", "address": "10.0.1.20"}
    )
    return Handover(
        tenant="acme", url="https://10.0.1.5:8200", authority=admin_ca, admin_ca=admin_ca, seal="transit",
        release=current_manifest()["release"], digests=layout.digests(), machines=(machine,),
        product=product, platform_ca=None if product is Product.OPENBAO else platform_ca,
    ).text()  # fmt: skip


@cache
def expectation(product: Product = Product.OPENBAO) -> Expectation:
    """Return what must be found."""
    manifest = manifest_data()
    return expect(Manifest(manifest["release"], manifest), parse_handover(handover_text(product), "it"), NOW)


def lawful_vault(product: Product = Product.OPENBAO) -> FakeVault:
    """Return a Vault that is claimed, with one host enrolled and one administrator at work."""
    _, platform_ca, services, machines = _authorities()
    manifest = expectation(product).manifest
    version = manifest["servers"][-1]
    certificate = {fingerprints(pem): pem for pem in _authorities()}
    want = expectation(product).knowing(
        version=version, platform_ca=fingerprints(platform_ca), machine_ca=fingerprints(machines)
    )
    own = want.filled(manifest["plugin_versions"])[0]
    enrolled = want.machine(want.machines[HOST])
    roles = {"tenant-admin": want.filled(manifest["roles"]["tenant-admin"]), HOST: enrolled["role"],
             "mutx-operator": want.filled(manifest["roles"]["mutx-operator"])}  # fmt: skip
    roots = {"pki": services, "pki-machines": machines}
    answers: dict[str, Any] = {
        "sys/seal-status": {"type": "transit", "n": 3, "t": 2, "initialized": True, "migration": False,
                            "version": version, "storage_type": "raft", "cluster_name": "acme", "recovery_seal": True},
        **{path: {"server_time_utc": int(NOW.timestamp()), **fields}
           for path, fields in want.filled(manifest["shows"]).items()},
        **{path: Unanswered(f"404: {words}") for path, words in manifest["unknown"].items()},
        "sys/loggers": {"core": "info"},
        manifest["kept_shares"]: Unanswered("400: no backed-up keys found"),
        "sys/storage/raft/configuration": {"config": {"servers": [
            {"node_id": "acme-vault-1", "address": "10.0.1.5:8201", "voter": True}]}},
        "sys/plugins/catalog": {"detailed": [{"name": name, "type": kind, "builtin": True, "version": own}
                                             for kind, name in _PLUGINS],
                                "secret": ["kv", "pki", "ssh"], "auth": ["cert"], "database": []},
        "sys/mounts": want.filled(manifest["mounts"]), "sys/auth": want.filled(manifest["auth"]),
        "ssh/config/ca": {"public_key": "ssh-ed25519 AAAA"},
        "ssh/roles/operator": manifest["ssh"]["roles"]["operator"],
        "identity/entity/id/1": _entity("1", HOST, enrolled["metadata"]),
        "identity/entity/id/2": _entity("2", "ann@acme.example", None),
        **{path: {"started": False} for path in manifest["begun"].values()},
        **{f"auth/cert/certs/{name}": {**role, "certificate": certificate[role["certificate"]]}
           for name, role in roles.items()},
        **{f"{mount}/roles/{HOST}": enrolled["signs"][mount] for mount in roots},
        **{f"{mount}/issuer/1": {**manifest["issuer"], "certificate": pem} for mount, pem in roots.items()},
        **{f"{mount}/cert/1": {"certificate": pem, "revocation_time": 0} for mount, pem in roots.items()},
        **want.filled(manifest["reads"]),
    }  # fmt: skip
    texts = policy_texts()
    for name in manifest["policies"]:
        answers[f"sys/policies/acl/{name}"] = {
            "policy": texts.get(name, ""), "name": name, **manifest["policy_fields"],
        }  # fmt: skip
    lists = {
        "sys/policies/acl": sorted(set(manifest["policies"]) - {*manifest["unlisted_policies"]}),
        "auth/cert/certs": list(roles),
        "ssh/issuers": ["1"], "ssh/roles": ["operator"], "identity/entity/id": ["1", "2"],
        "identity/entity-alias/id": ["a1", "a2"], "auth/token/accessors": ["t1"], "sys/leases/lookup": ["auth/"],
        "sys/leases/lookup/auth": ["cert/"], "sys/leases/lookup/auth/cert": ["login/"],
        "sys/leases/lookup/auth/cert/login": ["h1"],
        **{f"{mount}/{kind}": names for mount in roots for kind, names in
           (("roles", [HOST]), ("issuers", ["1"]), ("keys", ["1"]), ("certs", ["1"]))},
        **{path: [n for n in names if not n.startswith("?")] for path, names in manifest["lists"].items()},
    }  # fmt: skip
    return FakeVault({path: _plain(answer) for path, answer in answers.items()}, lists, {"t1": a_token()})


def a_token(**changed: Any) -> dict[str, Any]:
    """Return what a Vault says of an administrator's token."""
    return {
        "policies": ["tenant-admin"], "path": "auth/cert/login", "meta": {"cert_name": "tenant-admin"},
        "type": "service", "creation_time": int(NOW.timestamp()), "creation_ttl": 900, "ttl": 899, "orphan": True,
        "num_uses": 0, "explicit_max_ttl": 0, "display_name": "cert-tenant-admin", **changed,
    }  # fmt: skip


def _entity(number: str, name: str, metadata: Any) -> dict[str, Any]:
    alias = {
        "canonical_id": number, "creation_time": "", "custom_metadata": None, "id": f"a{number}",
        "last_update_time": "", "local": False, "merged_from_canonical_ids": None, "metadata": None,
        "mount_accessor": "x", "mount_path": "auth/cert/", "mount_type": "cert", "name": name,
    }  # fmt: skip
    return {
        "aliases": [alias], "creation_time": "", "direct_group_ids": [], "disabled": False, "group_ids": [],
        "id": number, "inherited_group_ids": [], "last_update_time": "", "merged_entity_ids": None,
        "metadata": metadata, "name": name, "namespace_id": "root", "policies": [],
    }  # fmt: skip


def _plain(expected: Any) -> Any:
    """Return an answer that fits an expectation."""
    if isinstance(expected, dict) and len(expected) == 1:
        mark, argument = next(iter(expected.items()))
        if mark in ("{any}", "{empty}"):
            return None
        if mark in ("{between}", "{one of}"):
            return argument[0]
        if mark == "{words}":
            return "mutx"
    if isinstance(expected, dict):
        return {name: _plain(each) for name, each in expected.items() if not name.startswith("?")}
    if isinstance(expected, list):
        return [_plain(each) for each in expected]
    return expected.replace("{*}", "10.0.1.5") if isinstance(expected, str) else expected
