"""What a server says of its own, beside what a release puts into it: versions, defaults, tables, words. Pure.

A release's manifest (`manifest`, which explains the marks) has these of OpenBao, which are here, and of HashiCorp's
server (`answers_hashicorp`). They were read from running servers; the tests of `mutx-vault-verify` run against both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mutx_infra.byok import Product
from mutx_infra.vault.layout import AUDIT_DEVICE, CERT_AUTH, SSH_MOUNT, digest_of
from mutx_infra.vault.products import TRAITS
from mutx_infra.vault.server import ServerPaths

ANY: dict[str, Any] = {"{any}": True}
EMPTY: dict[str, Any] = {"{empty}": True}


@dataclass(frozen=True, slots=True)
class Answers:
    """What one product answers.

    Attributes:
        called: its name for people.
        servers: versions whose answers these are; the tests run against the newest.
        shows: fields that tell the product, by path; others there do not count.
        unknown: paths that this product does not know, and its words for that: another one would.
        builtin_policies: SHA-256 of the texts that the server brings: the same in every Vault of a version.
        unlisted_policies: those of them that no list names.
        policy_fields: of every policy, beside its text.
        plugin_versions: of the server's own plugins.
        engine_versions: of its engines and login methods, by type; `plugin_versions` has the others' first.
        login: fields of a certificate role that nobody set.
        signing: the same of a role of an authority.
        unsigned: fields that are sent for such a role, and that the server does not keep.
        issuer: an authority, beside its root.
        ssh_role: fields of a role of the SSH engine that this product alone has.
        ssh_issuers: list of the SSH engine's authorities; empty where it has one at most.
        ssh_none: what an engine that has one at most says when it has none.
        seals: which kinds of seal it has, and whose the key of each is.
        claim: what tells that the tenant has claimed the Vault.
        begun: paths that say whether new root or recovery keys are in the making, by name.
        kept_shares: where the server keeps shares while a claim goes on.
        configuration: fields of a node's configuration that this product alone has.
        raft: the same of its storage.
        seal: the same of its seal.
        kv_config: settings of the engine of keys that this product alone has.
        pki_config: settings of each authority.
        pki_lists: lists of each authority that must be empty.
        reads: settings of the whole Vault that nobody is to change.
        lists: lists of the whole Vault that must be empty.
        unseen: what no answer of this product shows and the other's would, and why; the program says that it did not
            look at it.
    """

    called: str
    servers: tuple[str, ...]
    shows: Mapping[str, Any]
    unknown: Mapping[str, str]
    builtin_policies: Mapping[str, str]
    unlisted_policies: tuple[str, ...]
    policy_fields: Mapping[str, Any]
    plugin_versions: tuple[str, ...]
    engine_versions: Mapping[str, str]
    login: Mapping[str, Any]
    signing: Mapping[str, Any]
    unsigned: frozenset[str]
    issuer: Mapping[str, Any]
    ssh_role: Mapping[str, Any]
    ssh_issuers: str
    ssh_none: str
    seals: Mapping[str, str]
    claim: tuple[str, ...]
    begun: Mapping[str, str]
    kept_shares: str
    configuration: Mapping[str, Any]
    raft: Callable[[ServerPaths], Mapping[str, Any]]
    seal: Mapping[str, Any]
    kv_config: Mapping[str, Any]
    pki_config: Mapping[str, Mapping[str, Any]]
    pki_lists: tuple[str, ...]
    reads: Mapping[str, Any]
    lists: tuple[str, ...]
    unseen: Mapping[str, str]

    def engine_version(self, kind: str) -> str:
        """Return the version that an engine or login method of the server's own runs in."""
        return self.engine_versions.get(kind, self.plugin_versions[0])


_POLICY_FIELDS = {
    "allow_slashes_in_identity_templates": False, "allow_wildcards_in_identity_templates": False, "cas_required": False,
}  # fmt: skip
_LOGIN: dict[str, Any] = {
    "allowed_dns_sans": EMPTY, "allowed_email_sans": EMPTY, "allowed_metadata_extensions": EMPTY,
    "allowed_names": EMPTY, "allowed_organizational_units": EMPTY, "allowed_uri_sans": EMPTY,
    "ocsp_ca_certificates": EMPTY, "ocsp_enabled": False, "ocsp_fail_open": False, "ocsp_query_all_servers": False,
    "ocsp_servers_override": EMPTY, "required_extensions": EMPTY, "token_explicit_max_ttl": 0, "token_num_uses": 0,
    "token_period": 0, "token_strictly_bind_ip": False,
}  # fmt: skip
_SIGNS = {
    "allow_any_name": False, "allow_glob_domains": False, "allow_globs_in_identity_templates": False,
    "allow_token_displayname": False, "allowed_domains_template": False, "allowed_ip_sans_cidr": [],
    "allowed_other_sans": [], "allowed_serial_numbers": [], "allowed_uri_sans": [], "allowed_uri_sans_template": False,
    "allowed_user_ids": [], "basic_constraints_valid_for_non_ca": False, "cn_validations": ["email", "hostname"],
    "code_signing_flag": False, "country": [], "email_protection_flag": False, "enforce_hostnames": True,
    "ext_key_usage": [], "ext_key_usage_oids": [], "generate_lease": False, "issuer_ref": "default",
    "key_usage": ["DigitalSignature", "KeyAgreement", "KeyEncipherment"], "locality": [], "no_store": False,
    "not_after": "", "not_before": "",
    "not_before_duration": 30, "organization": [], "ou": [], "policy_identifiers": [], "postal_code": [],
    "province": [], "require_cn": True, "signature_bits": 0, "street_address": [], "use_csr_common_name": True,
    "use_csr_sans": True, "use_pss": False,
}  # fmt: skip
_ISSUER: dict[str, Any] = {
    "ca_chain": ANY, "certificate": ANY, "crl_distribution_points": [], "delta_crl_distribution_points": [],
    "issuer_id": ANY, "issuer_name": "", "issuing_certificates": [], "key_id": ANY, "leaf_not_after_behavior": "err",
    "manual_chain": None, "ocsp_servers": [], "revocation_signature_algorithm": "ECDSAWithSHA384", "revoked": False,
    "usage": "crl-signing,issuing-certificates,ocsp-signing,read-only",
}  # fmt: skip
_SSH_ROLE: dict[str, Any] = {
    "allow_commas_in_identity_templates": False, "allow_wildcards_in_identity_templates": False,
    "issuer_ref": "default",
}  # fmt: skip
_PKI_CONFIG: dict[str, Any] = {
    "acme": {
        "allow_role_ext_key_usage": False, "allowed_issuers": ["*"], "allowed_roles": ["*"],
        "default_directory_policy": "sign-verbatim", "dns_resolver": "", "eab_policy": "not-required",
        "enabled": False,
    },
    "auto-tidy": {
        "acme_account_safety_buffer": 2592000, "enabled": False, "interval_duration": 43200,
        "issuer_safety_buffer": 31536000, "maintain_stored_certificate_counts": False, "page_size": 1000,
        "pause_duration": "0s", "publish_stored_certificate_count_metrics": False, "revoked_safety_buffer": 259200,
        "safety_buffer": 259200, "tidy_acme": False, "tidy_cert_store": False, "tidy_expired_issuers": False,
        "tidy_invalid_certs": False, "tidy_move_legacy_ca_bundle": False,
        "tidy_revoked_cert_issuer_associations": False, "tidy_revoked_certs": False,
    },
    "cluster": {"aia_path": "", "path": ""},
    "crl": {
        "allow_expired_cert_revocation": False, "auto_rebuild": False, "auto_rebuild_grace_period": "12h",
        "delta_rebuild_interval": "15m", "disable": False, "enable_delta": False, "expiry": "72h",
        "ocsp_disable": False, "ocsp_expiry": "12h",
    },
    "issuers": {"default": ANY, "default_follows_latest_issuer": False},
    "keys": {"default": ANY},
    "urls": {
        "crl_distribution_points": [], "delta_crl_distribution_points": [], "enable_templating": False,
        "issuing_certificates": [], "ocsp_servers": [],
    },
}  # fmt: skip
_UNTOUCHED: dict[str, Any] = {
    "identity/oidc/assignment/allow_all": {"entity_ids": ["*"], "group_ids": ["*"]},
    "identity/oidc/config": {"issuer": ""},
    "identity/oidc/key/default": {
        "algorithm": "RS256", "allowed_client_ids": ["*"], "rotation_period": 86400, "verification_ttl": 86400,
    },
    "identity/oidc/provider/default": {"allowed_client_ids": ["*"], "issuer": ANY, "scopes_supported": []},
    f"auth/{CERT_AUTH}/config": {
        "disable_binding": False, "enable_identity_alias_metadata": False, "ocsp_cache_size": 0,
    },
    "sys/config/auditing/request-headers": {"headers": {}},
    "sys/config/cors": {"enabled": False},
    "sys/quotas/config": {
        "enable_rate_limit_audit_logging": False, "enable_rate_limit_response_headers": False,
        "rate_limit_exempt_paths": [
            "sys/generate-recovery-token/attempt", "sys/generate-recovery-token/update", "sys/generate-root/attempt",
            "sys/generate-root/update", "sys/health", "sys/seal-status", "sys/unseal",
        ],
    },
    "sys/rotate/keyring/config": {"enabled": True, "interval": 0, "max_operations": 3865470566},
}  # fmt: skip
"""What a server has of its own and nobody is to change."""
_MUST_BE_EMPTY = (
    "auth/token/roles", "identity/group-alias/id", "identity/group/id", "identity/mfa/login-enforcement",
    "identity/mfa/method", "identity/oidc/client", "identity/oidc/role", "identity/oidc/scope",
    "sys/config/ui/headers", "sys/external-keys/configs", "sys/namespaces", "sys/policies/password",
    "sys/quotas/rate-limit", "sys/workflows/manage",
)  # fmt: skip
OPENBAO = Answers(
    called=TRAITS[Product.OPENBAO].called,
    servers=("2.7.2",),
    shows={"sys/health?standbyok=true": {"version": "{version}"}},
    unknown=dict.fromkeys(
        ("sys/experiments", "sys/internal/counters/config", "sys/license/status"), "unsupported path"
    ),
    builtin_policies={
        "default": "1b6ea8e97975b572c64fcc41c30e1aa0560fb2c680687b5dbdc874bdbef823a9",
        "response-wrapping": "e3d6da3c18b3e65d116bfe8dad9437e7a29eec5d8b514ef6338ce9326d122407",
        "root": digest_of(""),
    },
    unlisted_policies=("response-wrapping",),
    policy_fields=_POLICY_FIELDS,
    plugin_versions=("v{version}+builtin.bao",),
    engine_versions={},
    login=_LOGIN,
    signing=_SIGNS,
    unsigned=frozenset(),
    issuer=_ISSUER,
    ssh_role=_SSH_ROLE,
    ssh_issuers=f"{SSH_MOUNT}/issuers",
    ssh_none="",
    seals={"awskms": "tenant", "transit": "tenant", "static": "trial"},
    claim=("recovery keys set", "SSH authority made", "onboarder gone"),
    begun={
        "generate-root": "sys/generate-root-token/attempt",
        "rotation of recovery keys": "sys/rotate/recovery/init",
        "rotation of unseal keys": "sys/rotate/root/init",
    },
    kept_shares="sys/rotate/recovery/backup",
    configuration={
        "allow_unauthenticated_workflows": False,
        "audits": [{"description": "", "path": f"{AUDIT_DEVICE}/", "type": "file"}],
        # With a seal in AWS KMS; no plugin but the seal's is registered (`plugin_versions`).
        "plugin_directory": {"{one of}": ["", ServerPaths().plugins]},
        "disable_ssct_tokens": True, "disable_standby_reads": False, "unsafe_allow_api_audit_creation": False,
        "unsafe_cross_namespace_identity": False, "unsafe_relative_paths": False,
    },
    raft=lambda _paths: {},
    seal={},
    kv_config={"metadata_cas_required": False},
    pki_config=_PKI_CONFIG,
    pki_lists=("cel/roles", "eab"),
    reads=_UNTOUCHED,
    lists=_MUST_BE_EMPTY,
    unseen={},
)  # fmt: skip
