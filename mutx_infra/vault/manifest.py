"""What a tenant's Vault answers when it is as this release makes it: the manifest that a release signs. Pure.

`mutx-vault-verify` compares a running Vault with it; docs/how-to/verify-your-vault.md says how. Values are as the
server gives them back, with what it adds by itself. Marks in them:

- `{tenant}`, `{host}`, `{key}`, `{address}`, `{seal}`, `{version}`: what the hand-over file, or the server, says;
- `{admin_ca}`, `{platform_ca}`, `{machine_ca}`: SHA-256 of the one certificate that must stand there;
- `{*}`: a host, a port or both;
- `{"{any}": true}`: anything; `{"{empty}": true}`: nothing, however it is written; `{"{between}": [a, b]}`: a number;
  `{"{words}": {"never": […]}}`: words with commas between them, none of those;
- in a list of names, `?name`: it may be there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mutx_infra.vault.layout import (
    AUDIT_DEVICE,
    CERT_AUTH,
    KEPT_VERSIONS,
    KV_MOUNT,
    MACHINE_PKI,
    MACHINE_TTL,
    ONBOARDER,
    OPERATOR,
    SERVICE_PKI,
    SSH_MOUNT,
    SSH_ROLE,
    SSH_TTL,
    TENANT_ADMIN,
    TOKEN_MAX_TTL,
    TOKEN_TTL,
    CertificateRole,
    Mount,
    VaultLayout,
    digest_of,
    first_requests,
    issuing_role,
    machine_role,
    make_layout,
    signing_role,
)
from mutx_infra.vault.server import API_PORT, CLUSTER_PORT, LOOPBACK, ServerPaths

SERVERS = ("2.7.2",)
"""Versions of OpenBao whose answers these are; the tests run against the newest."""

_ANY: dict[str, Any] = {"{any}": True}
_EMPTY: dict[str, Any] = {"{empty}": True}
_SECONDS = {"s": 1, "m": 60, "h": 3600}
# Texts that the server brings: the same in every Vault of a version.
_BUILTIN_POLICIES = {
    "default": "1b6ea8e97975b572c64fcc41c30e1aa0560fb2c680687b5dbdc874bdbef823a9",
    "response-wrapping": "e3d6da3c18b3e65d116bfe8dad9437e7a29eec5d8b514ef6338ce9326d122407",
    "root": digest_of(""),
}


def make_manifest(
    policies: Mapping[str, str],
    release: str,
    platform_authorities: Sequence[str] = (),
    paths: ServerPaths = ServerPaths(),  # noqa: B008 - frozen
    listen: str = f"{{*}}:{API_PORT}",
    cluster_port: int = CLUSTER_PORT,
) -> dict[str, Any]:
    """Return the manifest of a release, as JSON has it.

    Args:
        policies: texts by name.
        release: version of the toolkit.
        platform_authorities: SHA-256 of the certificates (DER) of the platform's authorities; empty where a release
            does not say.
        paths: where nodes keep what they have.
        listen: address and port of the API.
        cluster_port: of the nodes among each other.
    """
    layout = make_layout(_TENANT, policies, _ADMIN_CA, _PLATFORM_CA, LOOPBACK)
    made = {
        "kind": "vault-manifest",
        "version": 1,
        "release": release,
        "servers": list(SERVERS),
        "platform_authorities": sorted(platform_authorities),
        "policies": {name: digest_of(text) for name, text in layout.policies.items()} | _BUILTIN_POLICIES,
        "policy_fields": _POLICY_FIELDS,
        "mounts": {f"{m.path}/": _mount(m) for m in layout.mounts} | _OWN_MOUNTS,
        "auth": {
            f"{CERT_AUTH}/": _engine("cert", {**_NO_TUNING, "token_type": "default-service"}, {}),
            "token/": _engine(
                "token", {**_NO_TUNING, "token_type": "default-service"}, None, "token based credentials"
            ),
        },
        "admin": TENANT_ADMIN,
        "until_claim": [ONBOARDER],
        "platform": [ONBOARDER, OPERATOR],
        "roles": {role.name: _login(role) for role in layout.roles},
        "sent": {role.name: role.settings() for role in layout.roles},
        "machines": {"agent": _machine(is_agent=True), "other": _machine(is_agent=False)},
        "machine_ttl_s": _seconds(MACHINE_TTL),
        "authorities": _roots(layout),
        "machine_authority": MACHINE_PKI,
        "issuer": _ISSUER,
        "ssh": {"mount": SSH_MOUNT, "roles": {SSH_ROLE: _SSH_ROLE}},
        "seals": {"awskms": "tenant", "transit": "tenant", "static": "trial"},
        "nodes": {"name": "{tenant}-vault-", "counts": [1, 3], "port": cluster_port},
        "reads": {
            "sys/audit": _audit(paths),
            "sys/config/state/sanitized": _server(paths, listen, cluster_port),
            f"auth/{CERT_AUTH}/config": {
                "disable_binding": False, "enable_identity_alias_metadata": False, "ocsp_cache_size": 0,
            },
            f"{KV_MOUNT}/config": {
                "cas_required": True, "max_versions": KEPT_VERSIONS, "delete_version_after": "0s",
                "metadata_cas_required": False,
            },
            **{
                f"{mount}/config/{name}": answer
                for mount in (SERVICE_PKI, MACHINE_PKI) for name, answer in _PKI_CONFIG.items()
            },
            **_UNTOUCHED,
        },
        "lists": {
            **{path: [] for path in _MUST_BE_EMPTY},
            **{f"{mount}/{name}": [] for mount in (SERVICE_PKI, MACHINE_PKI) for name in ("cel/roles", "eab")},
            "identity/oidc/assignment": ["allow_all"],
            "identity/oidc/key": ["default"],
            "identity/oidc/provider": ["default"],
            f"auth/{CERT_AUTH}/crls": ["?machines"],
        },
    }  # fmt: skip
    marked: dict[str, Any] = _marked(made)
    return marked


# What the layout takes for real, and what a manifest has in its place.
_TENANT, _HOST, _ADDRESS = "stand-in-tenant", "stand-in-host", "stand-in-address"
_PEM = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
_ADMIN_CA, _PLATFORM_CA = _PEM.format("YWRtaW4="), _PEM.format("cGxhdGZvcm0=")
_MARK_OF = {
    _TENANT: "{tenant}", _HOST: "{host}", _ADDRESS: "{address}", _ADMIN_CA: "{admin_ca}", _PLATFORM_CA: "{platform_ca}",
}  # fmt: skip


def _marked(value: object) -> Any:  # noqa: ANN401 - what JSON may be
    if isinstance(value, str):
        for stand_in, mark in _MARK_OF.items():
            value = value.replace(stand_in, mark)
        return value
    if isinstance(value, Mapping):
        return {_marked(name): _marked(each) for name, each in value.items()}
    return [_marked(each) for each in value] if isinstance(value, list | tuple) else value


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * _SECONDS[duration[-1]]


# ---- engines

_NO_TUNING = {"default_lease_ttl": 0, "force_no_cache": False, "max_lease_ttl": 0}


def _engine(
    kind: str, config: Mapping[str, Any], options: Mapping[str, str] | None, description: str = ""
) -> dict[str, Any]:
    return {
        "accessor": _ANY, "config": dict(config), "description": description, "external_entropy_access": False,
        "local": False, "options": None if options is None else dict(options), "plugin_version": "",
        "running_plugin_version": "v{version}+builtin.bao", "running_sha256": "", "seal_wrap": False, "type": kind,
        "uuid": _ANY, **({"deprecation_status": "supported"} if options is not None else {}),
    }  # fmt: skip


def _mount(mount: Mount) -> dict[str, Any]:
    tuned = {name: _seconds(value) for name, value in mount.config.items()}
    return _engine(mount.type, {**_NO_TUNING, **tuned}, mount.options)


_OWN_MOUNTS = {
    "cubbyhole/": {
        **_engine("cubbyhole", _NO_TUNING, None, "per-token private secret storage"),
        "local": True,
    },
    "identity/": _engine(
        "identity",
        {**_NO_TUNING, "passthrough_request_headers": ["Authorization"]},
        None,
        "identity store",
    ),
    "sys/": {
        **_engine(
            "system",
            {**_NO_TUNING, "passthrough_request_headers": ["Accept"]},
            None,
            "system endpoints used for control, policy and debugging",
        ),
        "seal_wrap": True,
    },
}
"""What every server has of its own."""


# ---- who logs in

_POLICY_FIELDS = {
    "allow_slashes_in_identity_templates": False, "allow_wildcards_in_identity_templates": False, "cas_required": False,
}  # fmt: skip
_LOGIN: dict[str, Any] = {
    "allowed_dns_sans": _EMPTY, "allowed_email_sans": _EMPTY, "allowed_metadata_extensions": _EMPTY,
    "allowed_names": _EMPTY, "allowed_organizational_units": _EMPTY, "allowed_uri_sans": _EMPTY,
    "ocsp_ca_certificates": _EMPTY, "ocsp_enabled": False, "ocsp_fail_open": False, "ocsp_query_all_servers": False,
    "ocsp_servers_override": _EMPTY, "required_extensions": _EMPTY, "token_explicit_max_ttl": 0, "token_num_uses": 0,
    "token_period": 0, "token_strictly_bind_ip": False,
}  # fmt: skip


def _login(role: CertificateRole, authority: str | None = None) -> dict[str, Any]:
    """Return what `auth/cert/certs/<role>` answers."""
    sent = role.settings()
    return {
        **_LOGIN,
        **sent,
        "certificate": authority or sent["certificate"],
        "display_name": role.name,
        "token_ttl": _seconds(role.ttl),
        "token_max_ttl": _seconds(role.max_ttl),
        "token_bound_cidrs": [re.sub("/32$", "", cidr) for cidr in role.cidrs],
    }


def _machine(*, is_agent: bool) -> dict[str, Any]:
    """Return all that the enrolment of a host makes."""
    return {
        "role": _login(machine_role(_HOST, _ADDRESS, is_agent=is_agent), "{machine_ca}"),
        "signs": {
            SERVICE_PKI: _issuing(issuing_role(_HOST)),
            MACHINE_PKI: _issuing(signing_role(_HOST)),
        },
        "metadata": {"host": "{host}", **({"agent_id": "{key}"} if is_agent else {})},
    }


# ---- authorities

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
_DURATIONS = ("ttl", "max_ttl")


def _issuing(sent: Mapping[str, Any]) -> dict[str, Any]:
    return {**_SIGNS, **sent, **{name: _seconds(sent[name]) for name in _DURATIONS}}


def _roots(layout: VaultLayout) -> dict[str, Any]:
    """Return each authority's root: what its certificate says."""
    end = "/root/generate/internal"
    return {
        path.removesuffix(end): {
            "common_name": data["common_name"],
            "key_bits": data["key_bits"],
            "ttl_s": _seconds(data["ttl"]),
        }
        for _, path, data in first_requests(layout)
        if path.endswith(end)
    }


_ISSUER: dict[str, Any] = {
    "ca_chain": _ANY, "certificate": _ANY, "crl_distribution_points": [], "delta_crl_distribution_points": [],
    "issuer_id": _ANY, "issuer_name": "", "issuing_certificates": [], "key_id": _ANY, "leaf_not_after_behavior": "err",
    "manual_chain": None, "ocsp_servers": [], "revocation_signature_algorithm": "ECDSAWithSHA384", "revoked": False,
    "usage": "crl-signing,issuing-certificates,ocsp-signing,read-only",
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
    "issuers": {"default": _ANY, "default_follows_latest_issuer": False},
    "keys": {"default": _ANY},
    "urls": {
        "crl_distribution_points": [], "delta_crl_distribution_points": [], "enable_templating": False,
        "issuing_certificates": [], "ocsp_servers": [],
    },
}  # fmt: skip
_NOT_ROOT = {"{words}": {"never": ["root", "*", ""]}}
_SSH_ROLE: dict[str, Any] = {
    "algorithm_signer": _ANY, "allow_bare_domains": False, "allow_commas_in_identity_templates": False,
    "allow_empty_principals": False, "allow_host_certificates": False, "allow_subdomains": False,
    "allow_user_certificates": True, "allow_user_key_ids": False, "allow_wildcards_in_identity_templates": False,
    "allowed_critical_options": _ANY, "allowed_domains": "", "allowed_domains_template": False,
    "allowed_extensions": {"{words}": {"never": ["*"]}}, "allowed_user_key_lengths": _ANY,
    "allowed_users": _NOT_ROOT, "allowed_users_template": False, "default_critical_options": _ANY,
    "default_extensions": _ANY, "default_extensions_template": False,
    "default_user": {"{words}": {"never": ["root", "*"]}},
    "default_user_template": False, "issuer_ref": "default", "key_id_format": _ANY, "key_type": "ca",
    "max_ttl": {"{between}": [1, _seconds(SSH_TTL)]}, "not_before_duration": 30,
    "ttl": {"{between}": [1, _seconds(SSH_TTL)]},
}  # fmt: skip


# ---- the server itself


def _audit(paths: ServerPaths) -> dict[str, Any]:
    return {
        f"{AUDIT_DEVICE}/": {
            "description": "", "local": False, "path": f"{AUDIT_DEVICE}/", "type": "file",
            "options": {"file_path": paths.audit_log, "mode": "0600"},
        }
    }  # fmt: skip


def _server(paths: ServerPaths, listen: str, cluster_port: int) -> dict[str, Any]:
    """Return what a node says of its configuration."""
    listener = {
        "address": listen, "cluster_address": f"{{*}}:{cluster_port}", "max_request_duration": "30s",
        "max_request_size": 1048576, "tls_cert_file": paths.certificate, "tls_key_file": paths.key,
        "tls_min_version": "tls13",
    }  # fmt: skip
    here = {"cluster_addr": f"https://{{*}}:{cluster_port}"}
    api = f"https://{listen}" if listen.startswith("{*}") else "https://{*}"
    return {
        "allow_audit_log_prefixing": False, "allow_unauthenticated_workflows": False, "api_addr": api,
        "audits": [{"description": "", "path": f"{AUDIT_DEVICE}/", "type": "file"}], "cache_size": 0, **here,
        "cluster_cipher_suites": "", "cluster_name": "{tenant}", "default_lease_ttl": _seconds(TOKEN_TTL),
        "default_max_request_duration": 0, "detect_deadlocks": "", "disable_cache": False, "disable_clustering": False,
        "disable_indexing": False, "disable_performance_standby": False, "disable_printable_check": False,
        "disable_sealwrap": False, "disable_sentinel_trace": False, "disable_ssct_tokens": True,
        "disable_standby_reads": False, "enable_response_header_hostname": False,
        "enable_response_header_raft_node_id": False, "enable_ui": False, "imprecise_lease_role_tracking": False,
        "introspection_endpoint": False, "listeners": [{"config": listener, "type": "tcp"}], "log_format": "json",
        "log_level": "", "log_requests_level": "", "max_lease_ttl": _seconds(TOKEN_MAX_TTL), "pid_file": "",
        "plugin_directory": "", "plugin_file_permissions": 0, "plugin_file_uid": 0, "raw_storage_endpoint": False,
        "seals": [{"disabled": False, "type": "{seal}"}],
        "storage": {
            **here, "disable_clustering": False, "raft": {"max_entry_size": ""}, "redirect_addr": api, "type": "raft",
        },
        "unsafe_allow_api_audit_creation": False, "unsafe_cross_namespace_identity": False,
        "unsafe_relative_paths": False,
    }  # fmt: skip


_UNTOUCHED: dict[str, Any] = {
    "identity/oidc/assignment/allow_all": {"entity_ids": ["*"], "group_ids": ["*"]},
    "identity/oidc/config": {"issuer": ""},
    "identity/oidc/key/default": {
        "algorithm": "RS256", "allowed_client_ids": ["*"], "rotation_period": 86400, "verification_ttl": 86400,
    },
    "identity/oidc/provider/default": {"allowed_client_ids": ["*"], "issuer": _ANY, "scopes_supported": []},
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
