"""Questions about the tailnet, asked of the registry: who may reach whom and why, and how a live policy differs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mutx_infra.environment_tailnet import OperatorAccess, Tailnet
from mutx_infra.errors import UsageError
from mutx_infra.ports import Registry
from mutx_infra.records import TenantState
from mutx_infra.tailnet.composition import Composed, Member, Platform, Reason, compose
from mutx_infra.tailnet.devices import LiveTailnet, expected, judge_devices, judge_keys
from mutx_infra.tailnet.difference import PolicyChange, compare
from mutx_infra.tailnet.evaluation import Answer, Evaluator, Identity
from mutx_infra.tailnet.lints import Lint, lint
from mutx_infra.tailnet.policy import (
    PROTOCOLS,
    TAG,
    Policy,
    PolicyTest,
    read_policy,
    selector_and_port,
    split_target,
)
from mutx_infra.tenant import PLATFORM_ID, TenantSpec


@dataclass(frozen=True, slots=True)
class Question:
    """May `source` open a connection to `port` of `destination`? Each is a tag, a login, a group or a host."""

    source: str
    destination: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class Reached:
    """An answer with all that explains it.

    Attributes:
        reason: the row of the flow table behind the grant; None where nothing opens it, or nothing asks for what does.
        tests: the policy's tests that speak of the same parties and port, each with whether it wants them open.
    """

    question: Question
    answer: Answer
    reason: Reason | None
    tests: tuple[tuple[PolicyTest, bool], ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """What is not as it should be with a live policy.

    Attributes:
        lints: of the policy.
        change: from the live policy to the registry's.
        failed_tests: of the live policy's own tests.
        of_devices: what is wrong with devices and keys; empty where a policy alone was looked at.
    """

    lints: tuple[Lint, ...]
    failed_tests: tuple[str, ...]
    change: PolicyChange
    of_devices: tuple[Lint, ...] = ()

    @property
    def is_clean(self) -> bool:
        """True where all that is live is the registry's."""
        return not (self.lints or self.failed_tests or self.of_devices) and self.change.is_empty


class TailnetAccess:
    """What the registry asks of the tailnet."""

    def __init__(self, registry: Registry, tailnet: Tailnet) -> None:
        self._registry, self._tailnet = registry, tailnet

    def wanted(self) -> Composed:
        """Return the policy that the registry asks for: every tenant in it that is not on its way out."""
        return self._composed(self._members())

    def foreseen(self, spec: TenantSpec) -> PolicyChange:
        """Return what that policy would change once the registry has a spec: of a new tenant, or a known one's next."""
        members = self._members()
        after = [member for member in members if member.id != spec.id]
        if spec.id != PLATFORM_ID:
            handed_over = any(member.is_handed_over for member in members if member.id == spec.id)
            after.append(_member(spec, is_handed_over=handed_over))
        return compare(self._composed(members).policy, self._composed(after).policy)

    def _members(self) -> list[Member]:
        return [
            _member(record.spec, is_handed_over=record.is_handed_over)
            for record in self._registry.tenants()
            if record.spec.id != PLATFORM_ID and record.state is not TenantState.DESTROYING
        ]

    def _composed(self, members: Sequence[Member]) -> Composed:
        by_leave = self._tailnet.operator_access is OperatorAccess.BY_LEAVE
        platform = Platform(self._tailnet.operators, self._tailnet.operator_posture, by_leave)
        return compose(members, platform)

    def reach(
        self, question: Question, live: Policy | None = None, attributes: Mapping[str, object] | None = None
    ) -> Reached:
        """Answer by the registry's policy, or by a live one.

        Args:
            question: who, whom, and which port.
            live: a policy other than the registry's.
            attributes: of the source's device, where a grant asks for a posture.

        Raises:
            UsageError: the policy knows no such party or protocol (codes `tailnet-party-unknown`, `protocol-unknown`).
        """
        composed = self.wanted()
        policy = composed.policy if live is None else live
        evaluator = Evaluator(policy)
        source = _party(evaluator, question.source, attributes)
        destination = _party(evaluator, question.destination)
        answer = evaluator.reach(source, destination, _number(question.protocol), question.port)
        reason = composed.reason_of(answer.grant) if answer.grant else None
        return Reached(question, answer, reason, tuple(_tests(policy, question)))

    def change(self, live: Policy) -> PolicyChange:
        """Return what the registry's policy would change if it replaced a live one."""
        return compare(live, self.wanted().policy)

    def findings(self, live: Policy) -> Findings:
        """Hold a live policy against the registry."""
        wanted = self.wanted().policy
        return Findings(lint(live, wanted.grants), Evaluator(live).failed_tests(), compare(live, wanted))

    def findings_of(self, live: LiveTailnet) -> Findings:
        """Hold a live tailnet against the registry: its policy, devices and keys.

        Raises:
            RefusedError: something in the policy is not understood.
        """
        who = expected(self._registry.tenants(), self._tailnet)
        of_devices = (*judge_devices(live.devices, who), *judge_keys(live.keys))
        return replace(self.findings(read_policy(live.policy)), of_devices=of_devices)


def _member(spec: TenantSpec, *, is_handed_over: bool) -> Member:
    return Member(spec.id, spec.administrators, spec.clients, is_handed_over)


def parse_question(source: str, target: str, protocol: str) -> Question:
    """Read a question as it is typed, e.g. `alice@example.com`, `tag:t-acme-agent:22`, `tcp`.

    Raises:
        UsageError: the target has no port (code `tailnet-target-invalid`).
    """
    found = selector_and_port(target)
    if found is None:
        raise UsageError(
            f"{target} names no port",
            code="tailnet-target-invalid",
            remedy="write who and which port, e.g. tag:t-acme-agent:22",
        )
    selector, port = found
    return Question(source, selector, protocol, port)


def _party(evaluator: Evaluator, selector: str, attributes: Mapping[str, object] | None = None) -> Identity:
    """Return who is meant; one that the policy does not know would otherwise be told "no" for a typing error."""
    policy = evaluator.policy
    known = {*policy.tag_owners, *policy.groups, *policy.hosts}
    who = evaluator.identity(selector, attributes)
    if selector in known or (not selector.startswith(TAG) and (who.user or who.addresses)):
        return who
    close = difflib.get_close_matches(selector, known, n=3)
    raise UsageError(
        f"the policy knows no {selector}",
        code="tailnet-party-unknown",
        remedy=f"did you mean {', '.join(close)}?"
        if close
        else "write a tag, a group, a login or a host, e.g. tag:t-acme-guard",
    )


def _number(protocol: str) -> int:
    if protocol not in PROTOCOLS:
        raise UsageError(
            f"there is no protocol {protocol}",
            code="protocol-unknown",
            remedy=f"choose one of {', '.join(PROTOCOLS)}",
        )
    return PROTOCOLS[protocol]


def _tests(policy: Policy, question: Question) -> Iterator[tuple[PolicyTest, bool]]:
    wanted = (question.destination, question.port)
    for test in policy.tests:
        if test.source != question.source or test.protocol not in ("", question.protocol):
            continue
        for targets, is_open in ((test.accept, True), (test.deny, False)):
            if any(split_target(target, test.place) == wanted for target in targets):
                yield test, is_open
