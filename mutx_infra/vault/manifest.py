"""What a tenant's Vault answers when it is as this release makes it: the manifest that a release signs. Pure.

`mutx-vault-verify` compares a running Vault with it; docs/how-to/verify-your-vault.md says how. Values are as the
server gives them back, with what it adds by itself. Marks in them:

- `{tenant}`, `{host}`, `{key}`, `{address}`, `{seal}`, `{version}`: what the hand-over file, or the server, says;
- `{admin_ca}`, `{platform_ca}`, `{machine_ca}`: SHA-256 of the one certificate that must stand there;
- `{*}`: a host, a port or both;
- `{"{any}": true}`: anything; `{"{empty}": true}`: nothing, however it is written; `{"{between}": [a, b]}`: a number;
  `{"{one of}": […]}`: any of those; `{"{words}": {"never": […]}}`: words with commas between them, none of those;
- among fields or in a list of names, `?name`: it may be there.

What holds whichever the server is stands at the top, the rest below `products`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mutx_infra.byok import Product
from mutx_infra.vault.answers import ANY, OPENBAO, Answers
from mutx_infra.vault.answers_hashicorp import HASHICORP
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

ANSWERS: Mapping[Product, Answers] = {Product.OPENBAO: OPENBAO, Product.VAULT: HASHICORP}
_SECONDS = {"s": 1, "m": 60, "h": 3600}


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
        "version": 2,
        "release": release,
        "platform_authorities": sorted(platform_authorities),
        "policies": {name: digest_of(text) for name, text in layout.policies.items()},
        "admin": TENANT_ADMIN,
        "until_claim": [ONBOARDER],
        "platform": [ONBOARDER, OPERATOR],
        "sent": {role.name: role.settings() for role in layout.roles},
        "machine_ttl_s": _seconds(MACHINE_TTL),
        "authorities": _roots(layout),
        "machine_authority": MACHINE_PKI,
        "nodes": {"name": "{tenant}-vault-", "counts": [1, 3], "port": cluster_port},
        "products": {
            product.value: _of_one(answers, layout, paths, listen, cluster_port)
            for product, answers in ANSWERS.items()
        },
    }  # fmt: skip
    marked: dict[str, Any] = _marked(made)
    return marked


def _of_one(
    answers: Answers, layout: VaultLayout, paths: ServerPaths, listen: str, cluster_port: int
) -> dict[str, Any]:
    """Return what a Vault answers where its server is this one."""
    authorities = (SERVICE_PKI, MACHINE_PKI)
    return {
        "called": answers.called,
        "servers": answers.servers,
        "shows": answers.shows,
        "unknown": answers.unknown,
        "builtin_policies": answers.builtin_policies,
        "unlisted_policies": answers.unlisted_policies,
        "policy_fields": answers.policy_fields,
        "plugin_versions": answers.plugin_versions,
        "mounts": {f"{m.path}/": _mount(answers, m) for m in layout.mounts} | _own_mounts(answers),
        "auth": {
            f"{CERT_AUTH}/": _engine(answers, "cert", {**_NO_TUNING, "token_type": "default-service"}, {}),
            "token/": _engine(
                answers, "token", {**_NO_TUNING, "token_type": "default-service"}, None, "token based credentials"
            ),
        },
        "roles": {role.name: _login(answers, role) for role in layout.roles},
        "machines": {"agent": _machine(answers, is_agent=True), "other": _machine(answers, is_agent=False)},
        "issuer": answers.issuer,
        "ssh": {
            "mount": SSH_MOUNT, "issuers": answers.ssh_issuers, "none": answers.ssh_none,
            "roles": {SSH_ROLE: {**_SSH_ROLE, **answers.ssh_role}},
        },
        "seals": answers.seals,
        "claim": answers.claim,
        "begun": answers.begun,
        "kept_shares": answers.kept_shares,
        "reads": {
            "sys/audit": _audit(paths),
            "sys/config/state/sanitized": _server(answers, paths, listen, cluster_port),
            f"{KV_MOUNT}/config": {
                "cas_required": True, "max_versions": KEPT_VERSIONS, "delete_version_after": "0s", **answers.kv_config,
            },
            **{
                f"{mount}/config/{name}": answer
                for mount in authorities for name, answer in answers.pki_config.items()
            },
            **answers.reads,
        },
        "lists": {
            **{path: [] for path in answers.lists},
            **{f"{mount}/{name}": [] for mount in authorities for name in answers.pki_lists},
            "identity/oidc/assignment": ["allow_all"],
            "identity/oidc/key": ["default"],
            "identity/oidc/provider": ["default"],
            f"auth/{CERT_AUTH}/crls": ["?machines"],
        },
        "unseen": answers.unseen,
    }  # fmt: skip


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
    answers: Answers,
    kind: str,
    config: Mapping[str, Any],
    options: Mapping[str, str] | None,
    description: str = "",
) -> dict[str, Any]:
    return {
        "accessor": ANY, "config": dict(config), "description": description, "external_entropy_access": False,
        "local": False, "options": None if options is None else dict(options), "plugin_version": "",
        "running_plugin_version": answers.engine_version(kind), "running_sha256": "", "seal_wrap": False, "type": kind,
        "uuid": ANY, **({"deprecation_status": "supported"} if options is not None else {}),
    }  # fmt: skip


def _mount(answers: Answers, mount: Mount) -> dict[str, Any]:
    tuned = {name: _seconds(value) for name, value in mount.config.items()}
    return _engine(answers, mount.type, {**_NO_TUNING, **tuned}, mount.options)


def _own_mounts(answers: Answers) -> dict[str, Any]:
    """Return what every server has of its own."""
    return {
        "cubbyhole/": {
            **_engine(answers, "cubbyhole", _NO_TUNING, None, "per-token private secret storage"),
            "local": True,
        },
        "identity/": _engine(
            answers,
            "identity",
            {**_NO_TUNING, "passthrough_request_headers": ["Authorization"]},
            None,
            "identity store",
        ),
        "sys/": {
            **_engine(
                answers,
                "system",
                {**_NO_TUNING, "passthrough_request_headers": ["Accept"]},
                None,
                "system endpoints used for control, policy and debugging",
            ),
            "seal_wrap": True,
        },
    }


# ---- who logs in


def _login(answers: Answers, role: CertificateRole, authority: str | None = None) -> dict[str, Any]:
    """Return what `auth/cert/certs/<role>` answers."""
    sent = role.settings()
    return {
        **answers.login,
        **sent,
        "certificate": authority or sent["certificate"],
        "display_name": role.name,
        "token_ttl": _seconds(role.ttl),
        "token_max_ttl": _seconds(role.max_ttl),
        "token_bound_cidrs": [re.sub("/32$", "", cidr) for cidr in role.cidrs],
    }


def _machine(answers: Answers, *, is_agent: bool) -> dict[str, Any]:
    """Return all that the enrolment of a host makes."""
    return {
        "role": _login(answers, machine_role(_HOST, _ADDRESS, is_agent=is_agent), "{machine_ca}"),
        "signs": {
            SERVICE_PKI: _issuing(answers, issuing_role(_HOST)),
            MACHINE_PKI: _issuing(answers, signing_role(_HOST)),
        },
        "metadata": {"host": "{host}", **({"agent_id": "{key}"} if is_agent else {})},
    }


# ---- authorities

_DURATIONS = ("ttl", "max_ttl")


def _issuing(answers: Answers, sent: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in sent.items() if name not in answers.unsigned}
    return {**answers.signing, **kept, **{name: _seconds(sent[name]) for name in _DURATIONS}}


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


_NOT_ROOT = {"{words}": {"never": ["root", "*", ""]}}
_SSH_ROLE: dict[str, Any] = {
    "algorithm_signer": ANY, "allow_bare_domains": False,
    "allow_empty_principals": False, "allow_host_certificates": False, "allow_subdomains": False,
    "allow_user_certificates": True, "allow_user_key_ids": False,
    "allowed_critical_options": ANY, "allowed_domains": "", "allowed_domains_template": False,
    "allowed_extensions": {"{words}": {"never": ["*"]}}, "allowed_user_key_lengths": ANY,
    "allowed_users": _NOT_ROOT, "allowed_users_template": False, "default_critical_options": ANY,
    "default_extensions": ANY, "default_extensions_template": False,
    "default_user": {"{words}": {"never": ["root", "*"]}},
    "default_user_template": False, "key_id_format": ANY, "key_type": "ca",
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


def _server(answers: Answers, paths: ServerPaths, listen: str, cluster_port: int) -> dict[str, Any]:
    """Return what a node says of its configuration."""
    listener = {
        "address": listen, "cluster_address": f"{{*}}:{cluster_port}", "max_request_duration": "30s",
        "max_request_size": 1048576, "tls_cert_file": paths.certificate, "tls_key_file": paths.key,
        "tls_min_version": "tls13",
    }  # fmt: skip
    here = {"cluster_addr": f"https://{{*}}:{cluster_port}"}
    api = f"https://{listen}" if listen.startswith("{*}") else "https://{*}"
    return {
        "allow_audit_log_prefixing": False, "api_addr": api, "cache_size": 0, **here,
        "cluster_cipher_suites": "", "cluster_name": "{tenant}", "default_lease_ttl": _seconds(TOKEN_TTL),
        "default_max_request_duration": 0, "detect_deadlocks": "", "disable_cache": False, "disable_clustering": False,
        "disable_indexing": False, "disable_performance_standby": False, "disable_printable_check": False,
        "disable_sealwrap": False, "disable_sentinel_trace": False, "enable_response_header_hostname": False,
        "enable_response_header_raft_node_id": False, "enable_ui": False, "imprecise_lease_role_tracking": False,
        "introspection_endpoint": False, "listeners": [{"config": listener, "type": "tcp"}], "log_format": "json",
        "log_level": "", "log_requests_level": "", "max_lease_ttl": _seconds(TOKEN_MAX_TTL), "pid_file": "",
        "plugin_file_permissions": 0, "plugin_file_uid": 0, "raw_storage_endpoint": False,
        "seals": [{"disabled": False, "type": "{seal}", **answers.seal}],
        "storage": {
            **here, "disable_clustering": False, "redirect_addr": api, "type": "raft",
            "raft": {"max_entry_size": "", **answers.raft(paths)},
        },
        **answers.configuration,
    }  # fmt: skip
