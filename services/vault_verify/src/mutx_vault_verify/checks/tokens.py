"""Who is logged in now, and every lease: each token is one that a role gave, as it gives them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from mutx_vault_verify.check import Check, extra, judged, ok, unknown
from mutx_vault_verify.checks.logins import CERTS
from mutx_vault_verify.document import mapping, number, sequence, shown, text, texts
from mutx_vault_verify.expectation import Expectation
from mutx_vault_verify.problem import Unanswered
from mutx_vault_verify.vault import Source

MOST = 10_000
LEASES, OF_LOGINS = "sys/leases/lookup", "auth/cert/login/"
_DEEPEST = 12
_SKEW_S = 60


def check_tokens(source: Source, want: Expectation) -> Iterator[Check]:
    """Look at every token but batch tokens, which no Vault lists and no role here gives."""
    accessors = source.names("auth/token/accessors")
    if len(accessors) > MOST:
        yield unknown("tokens", f"there are {len(accessors)}, more than are looked at")
        return
    machines = {name: want.machine(machine)["role"] for name, machine in want.machines.items()}
    # A host that was taken out, or the onboarder, may have a token left that its role no longer gives.
    there = set(source.names(CERTS))
    roles = {name: role for name, role in {**want.roles, **machines}.items() if name in there}
    counts: Counter[str] = Counter()
    open_ones: dict[str, str] = {}
    for accessor in accessors:
        try:
            token = mapping(source.ask("auth/token/lookup-accessor", {"accessor": accessor}), "a token")
            role, said = _judge(token, roles, want.at.timestamp())
        except Unanswered as reason:
            open_ones[accessor] = str(reason)
            continue
        counts[role] += not said
        if said:
            yield judged(f"token {accessor}", said) if role else extra(f"token {accessor}", "; ".join(said))
    # A token may end between the list and the question.
    for accessor in sorted(set(open_ones) & set(source.names("auth/token/accessors"))):
        yield unknown(f"token {accessor}", open_ones[accessor])
    yield ok(
        "tokens", ", ".join(f"{count} of {name}" for name, count in sorted(counts.items()) if count) or "none"
    )


def check_leases(source: Source, want: Expectation) -> Iterator[Check]:  # noqa: ARG001 - as all checks
    """Look at every lease: those of logins are the tokens' own, others nobody should have."""
    own = 0
    queue = [("", 0)]
    while queue:
        place, depth = queue.pop()
        for name in source.names(f"{LEASES}/{place}".rstrip("/")):
            path = place + name
            if name.endswith("/") and depth < _DEEPEST:
                queue.append((path, depth + 1))
            elif path.startswith(OF_LOGINS):
                own += 1
            else:
                yield extra(f"lease {shown(path)}", "nothing here gives leases but logins")
    yield ok("leases", f"{own} of logins")


def _judge(token: Mapping[str, Any], roles: Mapping[str, Any], now_s: float) -> tuple[str, list[str]]:
    """Return the role that gave a token, empty where none did, and what is wrong with it."""
    policies = texts(token.get("policies"), "policies")
    path = text(token, "path")
    name = _role(token)
    if path != OF_LOGINS.rstrip("/") or name not in roles:
        whose = f"role {name}" if name else f"{shown(token.get('display_name'))}"
        return "", [
            f"was given by {shown(path)} to {whose}, with {shown(policies)}: no login of the release gives such"
        ]
    role = roles[name]
    age_s = now_s - number(token, "creation_time")
    facts: tuple[tuple[str, object, object], ...] = (
        ("policies", sorted(policies), sorted(role["token_policies"])),
        (
            "bound_cidrs",
            sorted(texts(token.get("bound_cidrs"), "bound_cidrs")),
            sorted(role["token_bound_cidrs"]),
        ),
        ("type", token.get("type"), "service"),
        ("orphan", token.get("orphan"), True),
        ("num_uses", token.get("num_uses"), 0),
        ("explicit_max_ttl", token.get("explicit_max_ttl"), 0),
        ("period", token.get("period", 0), 0),
        ("identity_policies", sequence(token.get("identity_policies"), "policies"), []),
        ("external_namespace_policies", token.get("external_namespace_policies") or {}, {}),
    )
    said = [
        f"{field} is {shown(found)}, not {shown(wanted)}" for field, found, wanted in facts if found != wanted
    ]
    if number(token, "creation_ttl") > role["token_ttl"]:
        said.append(f"was good for {token['creation_ttl']} s at first, more than {role['token_ttl']}")
    if age_s > role["token_max_ttl"] + _SKEW_S or not 0 < number(token, "ttl") <= role["token_ttl"]:
        said.append(f"is {age_s:.0f} s old and good for {token['ttl']} more")
    return name, said


def _role(token: Mapping[str, Any]) -> str:
    meta = token.get("meta")
    name = meta.get("cert_name") if isinstance(meta, dict) else None
    return name if isinstance(name, str) else ""
