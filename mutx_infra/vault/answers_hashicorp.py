"""What HashiCorp Vault, Community, says of its own: `answers`, with what differs. Pure.

Its server is the one that tools/get_vault.py builds. The vendor's has more plugins, of which none is in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mutx_infra.byok import Product
from mutx_infra.vault.answers import ANY, EMPTY, OPENBAO
from mutx_infra.vault.layout import CERT_AUTH, digest_of
from mutx_infra.vault.products import SET_BY_THE_SERVER, TRAITS


def _but(base: Mapping[str, Any], *without: str, **more: object) -> dict[str, Any]:
    """Return the same without some fields, and with others."""
    return {**{name: value for name, value in base.items() if name not in without}, **more}


HASHICORP = replace(
    OPENBAO,
    called=TRAITS[Product.VAULT].called,
    servers=("1.21.2",),
    shows={"sys/health?standbyok=true": {"version": "{version}", "enterprise": False}},
    unknown={
        **dict.fromkeys(
            (
                "sys/config/control-group", "sys/config/group-policy-application", "sys/license/status",
                "sys/managed-keys/awskms?list=true", "sys/mfa/method?list=true", "sys/namespaces?list=true",
                "sys/policies/egp?list=true", "sys/policies/rgp?list=true", "sys/quotas/lease-count?list=true",
                "sys/storage/raft/snapshot-auto/config?list=true",
            ),
            "enterprise-only feature",
        ),
        **dict.fromkeys(
            ("sys/external-keys/configs?list=true", "sys/rotate/recovery/init", "sys/workflows/manage?list=true"),
            "unsupported path",
        ),
    },
    builtin_policies={
        "control-group": "4919c18a44963c4ab25d7388e1513ed9c48eb8b03eac78bc1617a9334a26a103",
        "default": "bb66a9fc11ed8eefa05c6bdf71f3809580d16c6aedb6128a0c419d7a706efabf",
        "response-wrapping": "4048f76c2a74479014ccfb34465863d062c5bbed7743e71f63c229d3eaacebef",
        "root": digest_of(""),
    },
    unlisted_policies=("control-group", "response-wrapping"),
    policy_fields={},
    # Plugins that come from modules of their own have those modules' versions.
    plugin_versions=("v{version}+builtin.vault", "v{*}+builtin"),
    engine_versions={"kv": "v0.25.0+builtin"},
    login=_but(
        OPENBAO.login,
        "token_strictly_bind_ip",
        allowed_organizations=EMPTY,
        ocsp_this_update_max_age=0,
        **dict(SET_BY_THE_SERVER),
    ),
    signing=_but(
        OPENBAO.signing,
        "allow_globs_in_identity_templates",
        "allowed_ip_sans_cidr",
        "not_before",
        serial_number_source="json-csr",
    ),
    unsigned=frozenset({"not_after_bound", "not_before_bound"}),
    issuer=_but(OPENBAO.issuer, enable_aia_url_templating=False),
    ssh_role={},
    ssh_issuers="",
    ssh_none="keys haven't been configured yet",
    seals={"awskms": "tenant", "transit": "tenant"},
    claim=("SSH authority made", "onboarder gone"),
    begun={
        "generate-root": "sys/generate-root/attempt",
        "rotation of recovery keys": "sys/rekey-recovery-key/init",
        "rotation of unseal keys": "sys/rekey/init",
    },
    kept_shares="sys/rekey/recovery-key-backup",
    configuration={
        "administrative_namespace_path": "", "disable_mlock": True, "enable_post_unseal_trace": False,
        "experiments": None, "plugin_directory": "", "plugin_tmpdir": "", "post_unseal_trace_directory": "",
        "remove_irrevocable_lease_after": 0,
    },
    # Whom an empty node joins is there on hosts that have peers; which of the nodes answers, the list of nodes says.
    raft=lambda paths: {
        "node_id": "{*}", "path": paths.storage, "performance_multiplier": "1", "?retry_join": ANY,
    },
    seal={"name": "{seal}"},
    kv_config={},
    pki_config={
        **OPENBAO.pki_config,
        "acme": _but(OPENBAO.pki_config["acme"], max_ttl=7776000),
        "auto-tidy": _but(
            OPENBAO.pki_config["auto-tidy"], "page_size", "revoked_safety_buffer", "tidy_invalid_certs",
            max_startup_backoff_duration=900, min_startup_backoff_duration=300, revocation_queue_safety_buffer=172800,
            tidy_cert_metadata=False, tidy_cmpv2_nonce_store=False, tidy_cross_cluster_revoked_certs=False,
            tidy_revocation_queue=False,
        ),
        "crl": _but(
            OPENBAO.pki_config["crl"], "allow_expired_cert_revocation",
            cross_cluster_revocation=False, max_crl_entries=100000, unified_crl=False,
            unified_crl_on_existing_paths=False,
        ),
    },
    pki_lists=("eab",),
    reads={
        **_but(OPENBAO.reads, "sys/rotate/keyring/config"),
        f"auth/{CERT_AUTH}/config": _but(
            OPENBAO.reads[f"auth/{CERT_AUTH}/config"], enable_metadata_on_failures=False, role_cache_size=0
        ),
        "sys/activation-flags": {"activated": []},
        "sys/config/auditing/request-headers": {
            "headers": {name: {"hmac": False} for name in ("correlation-id", "user-agent", "x-correlation-id")}
        },
        "sys/experiments": {"available": ANY, "enabled": []},
        "sys/internal/counters/config": {
            "billing_start_timestamp": ANY, "enabled": "default-disabled", "minimum_retention_months": 0,
            "queries_available": ANY, "reporting_enabled": False, "retention_months": 48,
        },
        "sys/plugins/pins": {"pinned_versions": []},
        "sys/plugins/runtimes/catalog": {"runtimes": []},
        "sys/quotas/config": _but(OPENBAO.reads["sys/quotas/config"], absolute_rate_limit_exempt_paths=None),
        "sys/replication/status": {"mode": "disabled"},
        "sys/rotate/config": OPENBAO.reads["sys/rotate/keyring/config"],
    },
    lists=(
        *(
            path for path in OPENBAO.lists
            if path not in ("sys/external-keys/configs", "sys/namespaces", "sys/workflows/manage")
        ),
        "sys/well-known",
    ),
    unseen={
        "audit stanza": "the configuration of this server declares no audit device: an administrator can turn the one "
        "that was compared off and on again, and no answer says so afterwards",
        "holders of the recovery keys": "who initialised the Vault has them, and the server shows nobody whose they "
        "are: `vault claim` compares with the record of your own `vault initialise`",
        "other nodes": "a node that does not lead says nothing of its own configuration: that of the leading one was "
        "compared",
        "lifetimes of certificates": "roles have no bound for `not_after` here: the policy `machine` keeps hosts from "
        "it, and nothing keeps an administrator",
        "rest of the configuration": "whom an empty node joins, and what the file says of license, entropy, reporting "
        "and the seal beside its kind: no answer shows it, or none that could be compared",
        "templates of policies": "this server has no switch by which `*` or `+` in an agent's id would stand for "
        "nothing: the identities were compared, by their ids",
    },
)  # fmt: skip
