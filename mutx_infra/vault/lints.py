"""What a policy of a tenant's Vault must not say: every way round that was found on a live server, as a rule.

A policy is looked at in two ways: by how its patterns are written, and by what they grant on paths that matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mutx_infra.vault.layout import (
    AGENT,
    AGENTS,
    DEPOSITOR,
    HOSTS,
    KV_MOUNT,
    MACHINE_PKI,
    SERVICE_PKI,
    SHARED,
    SSH_MOUNT,
    TENANT_ADMIN,
)
from mutx_infra.vault.policy import PathRule, PolicySyntaxError, is_template, parse_policy

_WRITES = frozenset({"create", "update", "patch", "delete", "sudo"})
_READS = frozenset({"read", "list", "scan"})
_ANY = _WRITES | _READS
_OWN_KEYS = frozenset({f"{KV_MOUNT}/data/{HOSTS}/{{{{identity.entity.metadata.host}}}}/+"})


@dataclass(frozen=True, slots=True)
class Lint:
    """One thing that a policy must not say.

    Attributes:
        rule: its name, stable.
        path: the pattern that says it; empty where it is the whole policy.
        why: what somebody could do with it.
    """

    policy: str
    rule: str
    path: str
    why: str


@dataclass(frozen=True, slots=True)
class _Forbidden:
    """Capabilities that nobody but the tenant's administrators has on what a pattern takes in.

    Attributes:
        is_own: it may be granted by a template, which names something of the holder's own.
        may: names of policies that may grant it.
        but: patterns, as they are written, that may: they name something of the holder's own.
    """

    rule: str
    path: str
    capabilities: frozenset[str]
    why: str
    is_own: bool = False
    may: frozenset[str] = frozenset()
    but: frozenset[str] = frozenset()


_FORBIDDEN = (
    *(
        _Forbidden("writes-policies", path, _WRITES, "who writes a policy gives themselves any right")
        for path in ("sys/policies/acl/+", "sys/policies/password/+", "sys/policy/+")
    ),
    *(
        _Forbidden("writes-identity", path, _WRITES, "who writes identities attaches policies to their own")
        for path in (
            "identity/entity", "identity/entity/name/+", "identity/entity/id/+", "identity/entity-alias",
            "identity/entity/merge", "identity/group", "identity/oidc/key/+", "identity/oidc/role/+",
            "identity/mfa/method/totp",
        )
    ),
    *(
        _Forbidden("makes-tokens", path, _WRITES, "a token of another's making outlives what it was made with")
        for path in (
            "auth/token/create", "auth/token/create/+", "auth/token/create-orphan", "auth/token/roles/+",
            "identity/oidc/token/+",
        )
    ),
    *(
        _Forbidden("changes-logins", path, _WRITES, "who writes a way to log in chooses the policies it gives")
        for path in (
            "sys/auth/+", "auth/cert/certs/+", "auth/cert/config", "auth/approle/role/+",
            "auth/approle/role/+/secret-id",
        )
    ),
    *(
        _Forbidden("changes-engines", path, _WRITES, "an engine that is moved, made or tuned escapes its rules")
        for path in ("sys/mounts/+", "sys/mounts/+/tune", "sys/remount", "sys/plugins/catalog/+", "sys/namespaces/+")
    ),
    *(
        _Forbidden("changes-audit", path, _WRITES, "nothing is seen any more")
        for path in ("sys/audit/+", "sys/config/auditing/request-headers/+")
    ),
    *(
        _Forbidden("takes-the-store", path, _ANY, "the whole storage leaves the host, or its root is made anew")
        for path in (
            "sys/storage/raft/snapshot", "sys/storage/raft/snapshot-force", "sys/raw/+", "sys/generate-root/attempt",
            "sys/generate-root-token/attempt", "sys/rotate/root/init", "sys/rotate/recovery/init", "sys/rekey/init",
            "sys/rekey-recovery-key/init", "sys/rekey/recovery-key-backup", "sys/seal", "sys/step-down",
            "sys/storage/raft/remove-peer", "sys/external-keys/configs/+",
        )
    ),
    *(
        _Forbidden("issues-certificates", path, _WRITES, "who signs what they like is whom they like")
        for path in (
            *(
                f"{mount}/{below}"
                for mount in (SERVICE_PKI, MACHINE_PKI)
                for below in (
                    "roles/+", "sign-verbatim/+", "root/sign-intermediate", "root/sign-self-issued",
                    "root/generate/internal", "issuer/+/issue/+", "issuer/+/sign/+", "issuer/+/sign-verbatim",
                    "config/ca",
                )
            ),
            f"{SERVICE_PKI}/sign/+", f"{MACHINE_PKI}/issue/+",
            f"{SSH_MOUNT}/roles/+", f"{SSH_MOUNT}/config/ca", f"{SSH_MOUNT}/sign/+", f"{SSH_MOUNT}/issue/+",
        )
    ),
    _Forbidden(
        "reads-others-keys", f"{KV_MOUNT}/data/{AGENTS}/*", _READS, "it reads keys that are another agent's",
        is_own=True,
    ),
    *(
        _Forbidden(
            "reads-keys", path, _READS, "only an agent has any use for a key", may=frozenset({AGENT}), but=_OWN_KEYS
        )
        for path in (f"{KV_MOUNT}/data/*", f"{KV_MOUNT}/subkeys/*")
    ),
    _Forbidden(
        "touches-keys", f"{KV_MOUNT}/*", _ANY, "the platform has no business with the tenant's keys",
        may=frozenset({AGENT, DEPOSITOR}), but=_OWN_KEYS,
    ),
    *(
        _Forbidden("destroys-keys", path, _WRITES, "a key that is gone stops agents, and nobody can bring it back")
        for path in (
            f"{KV_MOUNT}/config", f"{KV_MOUNT}/metadata/{AGENTS}/+/+", f"{KV_MOUNT}/metadata/{HOSTS}/+/+",
            f"{KV_MOUNT}/metadata/{SHARED}/+",
            f"{KV_MOUNT}/delete/{SHARED}/+", f"{KV_MOUNT}/undelete/{SHARED}/+", f"{KV_MOUNT}/destroy/{SHARED}/+",
        )
    ),
    *(
        _Forbidden("deals-with-others-tokens", path, _ANY, "it ends, prolongs or looks into what others hold")
        for path in (
            "auth/token/lookup", "auth/token/lookup-accessor", "auth/token/renew", "auth/token/renew-accessor",
            "auth/token/revoke", "auth/token/revoke-accessor", "auth/token/accessors", "sys/leases/lookup/+",
            "sys/leases/revoke", "sys/leases/revoke-prefix/+", "sys/capabilities-accessor",
        )
    ),
)  # fmt: skip
_ROLE_PARENTS = ("/role/", "/roles/", "/certs/")


def lint_policies(policies: Mapping[str, str]) -> tuple[Lint, ...]:
    """Return what is wrong with some policies, by name; the tenant administrators' own may say anything."""
    return tuple(
        lint for name, text in policies.items() if name != TENANT_ADMIN for lint in lint_policy(name, text)
    )


def lint_policy(name: str, text: str) -> Iterator[Lint]:
    """Yield what is wrong with one policy."""
    try:
        rules = parse_policy(text)
    except PolicySyntaxError as exc:
        yield Lint(name, "not-understood", "", str(exc))
        return
    for rule in rules:
        yield from _written(name, rule)
        yield from _granted(name, rule)


def _written(name: str, rule: PathRule) -> Iterator[Lint]:
    segments = rule.path.removesuffix("*").split("/")
    if any("+" in segment and segment != "+" for segment in segments):
        yield Lint(
            name,
            "partial-segment",
            rule.path,
            "`+` stands for whole segments only: this matches nothing meant",
        )
    if any("{{" in segment and not is_template(segment) for segment in segments):
        yield Lint(
            name,
            "partial-template",
            rule.path,
            "a template beside other characters matches names that begin or end alike",
        )
    if "*" in rule.path[:-1]:
        yield Lint(name, "star-inside", rule.path, "`*` is a wildcard at the end alone: here it is a letter")
    if rule.path.endswith("*") and any(parent in rule.path for parent in _ROLE_PARENTS):
        yield Lint(
            name,
            "star-on-roles",
            rule.path,
            "`*` takes in what lies below a role, such as its secret-id: use `+`",
        )
    if "*" in rule.allowed:
        yield Lint(
            name, "any-parameter", rule.path, '`"*" = []` lets parameters through that nobody thought of'
        )
    if "sudo" in rule.capabilities:
        yield Lint(name, "sudo", rule.path, "root-protected paths are the tenant administrators' alone")
    if not rule.capabilities:
        yield Lint(name, "no-capability", rule.path, "a rule without capabilities says nothing")


def _granted(name: str, rule: PathRule) -> Iterator[Lint]:
    seen = set()
    for forbidden in _FORBIDDEN:
        if (
            rule.capabilities & forbidden.capabilities
            and rule.overlaps(forbidden.path, without_templates=forbidden.is_own)
            and forbidden.rule not in seen
            and name not in forbidden.may
            and rule.path not in forbidden.but
        ):
            seen.add(forbidden.rule)
            yield Lint(name, forbidden.rule, rule.path, forbidden.why)
