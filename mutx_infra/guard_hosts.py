"""What a guard and the agents behind it are told of each other: callers, addresses, ways out, accounts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from mutx_infra.firewall import ANYWHERE
from mutx_infra.flows import AGENT_PORT, EGRESS_PORT, GUARD_PORT, REDIS_PORT
from mutx_infra.guardrail import Guardrail, Judge
from mutx_infra.host_firewall import TAILNET_RANGES, HostRule
from mutx_infra.naming import control_plane_certificate

GUARD_ACCOUNTS = {"mutx-guardrail": 961, "mutx-guard-egress": 962}
"""Who judges, and who takes agents out: their numbers, by which the host firewall knows their packets.

Their units, and where their certificates lie, are called like them."""

JUDGE_ACCOUNT, JUDGE_UID = "mutx-judge", 963
"""Who serves the model that judges, where the toolkit runs it; it begins no connection."""
_JUDGE_PORT = 8000
_JUDGE_KEY_FILE = "/etc/mutx-judge/key"

_DNS, _HTTPS = 53, 443
_EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - the tailnet's address is known on the host alone; ufw admits its interface


@dataclass(frozen=True, slots=True)
class GuardTerms:
    """What holds for a tenant's guards.

    Attributes:
        spec: of the tenant's guardrail.
        profile: `production` wants every layer, the judge too; with `without-judge` a verdict says that it has none.
    """

    spec: Guardrail = field(default_factory=Guardrail)
    profile: str = "without-judge"


def guard_terms(spec: Guardrail | None, *, is_production: bool, today: date) -> GuardTerms:
    """Return what holds today: in production a guard has a judge, unless somebody bears that it has none (GUARD-6)."""
    given = spec or Guardrail()
    borne = given.without_judge is not None and given.without_judge.holds(today)
    wants_judge = given.judge is not None or (is_production and not borne)
    return GuardTerms(given, "production" if wants_judge else "without-judge")


def guard_variables(
    key: str, name: str, address: str, agents: Mapping[str, str], addresses: Iterable[str], terms: GuardTerms
) -> dict[str, object]:
    """Return what the role `guardrail` is told.

    Args:
        key: the guard's, e.g. `guard-1`.
        name: its own, and its certificate's.
        address: in the VPC.
        agents: the tenant's, names by key.
        addresses: theirs.
        terms: of the tenant.
    """
    way = {"providers": [str(each) for each in terms.spec.providers], "tunnels": list(terms.spec.tunnels)}
    may_leave = any(way.values())
    return {
        "guardrail_uid": GUARD_ACCOUNTS["mutx-guardrail"],
        "guardrail_egress_uid": GUARD_ACCOUNTS["mutx-guard-egress"],
        "guardrail_address": _EVERY_ADDRESS,
        "guardrail_port": GUARD_PORT,
        "guardrail_callers": [control_plane_certificate()],
        "guardrail_agents": {
            **{
                each: {"certificate": agent, "url": f"https://{agent}:{AGENT_PORT}"}
                for each, agent in agents.items()
            },
            # The host asks by its own certificate whether it is ready; it may ask for no agent.
            key: {"certificate": name},
        },
        "guardrail_peers": [*(f"{each}/32" for each in addresses), *TAILNET_RANGES],
        "guardrail_profile": terms.profile,
        **(judge_variables(terms.spec.judge) if terms.spec.judge else {}),
        "guardrail_egress_address": address,
        "guardrail_egress_port": EGRESS_PORT,
        "guardrail_egress_agents": {
            each: {"names": [agent], **way} for each, agent in agents.items() if may_leave
        },
    }


def shared_state(databases: Mapping[str, str]) -> dict[str, object]:
    """Return what the role `guardrail` is told of the Redis by which several guards agree on what agents did.

    Args:
        databases: names by key, of the host that has it first; none where a guard is the tenant's only one.
    """
    names = [databases[each] for each in sorted(databases, key=_number)]
    return {"guardrail_redis_host": names[0], "guardrail_redis_port": REDIS_PORT} if names else {}


def shared_state_rules(program: Iterable[HostRule]) -> tuple[HostRule, ...]:
    """Return the ways to that Redis among those of the judging account: the egress counts agents' calls there, too."""
    return tuple(rule for rule in program if rule.port == REDIS_PORT)


def judge_variables(judge: Judge) -> dict[str, object]:
    """Return what the role `guardrail` is told of its judge, and the role `judge` where it is to run one."""
    asked = {"guardrail_judge_model": judge.model, "guardrail_judge_family": str(judge.family)}
    if judge.url is not None:
        return {**asked, "guardrail_judge_url": judge.url}
    return {
        **asked,
        "guardrail_judge_url": f"http://127.0.0.1:{_JUDGE_PORT}/v1",
        "guardrail_judge_key_file": _JUDGE_KEY_FILE,
        "judge_model": judge.model,
        "judge_port": _JUDGE_PORT,
        "judge_uid": JUDGE_UID,
    }


def runs_judge(terms: GuardTerms) -> bool:
    """Say whether the toolkit runs the tenant's judge, rather than somebody else or nobody."""
    return terms.spec.judge is not None and terms.spec.judge.url is None


def egress_rules(outgoing: Iterable[HostRule]) -> tuple[HostRule, ...]:
    """Return those of a host's ways out that its egress has: names, and providers at any address."""
    return tuple(
        rule
        for rule in outgoing
        if rule.port == _DNS or (rule.port == _HTTPS and rule.peer == ANYWHERE and rule.protocol == "tcp")
    )


def guard_of(key: str, guards: Mapping[str, str]) -> str | None:
    """Return the guard (its name) by which an agent leaves: each has its own, in turn; None where there is none."""
    if not guards:
        return None
    names = [guards[each] for each in sorted(guards, key=_number)]
    return names[(_number(key) - 1) % len(names)]


def way_out_by(guard: str) -> str:
    """Return the URL of a guard's egress."""
    return f"https://{guard}:{EGRESS_PORT}"


def _number(key: str) -> int:
    return int(key.rpartition("-")[2])
