"""The one writer of the tailnet: what is in force is the registry's policy, and nothing of somebody else's is lost.

Runs of ours take turns by a lease. Against everybody else the policy is written on the condition that it is still the
one that was looked at; where it is not, all begins anew with what the registry says then. The stack comes after the
policy and finds it as it should be: the vendor's resource would overwrite it unseen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from mutx_infra.changes import ChangeSet
from mutx_infra.chronicle import Chronicle, Subject
from mutx_infra.environment_tailnet import Tailnet
from mutx_infra.errors import LockedError, MutxInfraError, RefusedError, VerificationError
from mutx_infra.leases import Leases
from mutx_infra.ports import Clock, Journal, Reporter
from mutx_infra.records import Owner, RunKind, RunRecord
from mutx_infra.runs import closing, journaled_step
from mutx_infra.tailnet.access import TailnetAccess
from mutx_infra.tailnet.composition import Composed
from mutx_infra.tailnet.difference import compare
from mutx_infra.tailnet.evaluation import Evaluator
from mutx_infra.tailnet.plan import TAILNET_ID, TailnetPlan, plan_tailnet, policy_digest
from mutx_infra.tailnet.policy import Policy, read_policy
from mutx_infra.tailnet_ports import UNTOUCHED, LivePolicy, PolicyFile, TailnetStack

ATTEMPTS = 5
"""How often somebody else may write in between before we give up."""
PATIENCE_S = 180.0
"""How long a tenant's run waits for another one that works on the tailnet."""
SHORTEST_DIGEST = 8
_BETWEEN_LOOKS_S = 0.5
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done.

    Attributes:
        wrote_policy: False where the registry's was in force already.
        changes: of the stack.
    """

    wrote_policy: bool
    changes: ChangeSet

    def summary(self) -> str:
        """Return one line for people."""
        written = "policy written" if self.wrote_policy else "the policy was in force already"
        return f"{written}; {self.changes.summary()}"


class _CollisionError(LockedError):
    """Somebody else wrote the policy after it was looked at."""


class TailnetWriter:
    """Brings a tailnet up to the registry.

    Args:
        access: what the registry asks for.
        tailnet: the profile's part.
        file: the policy in force.
        stack: all else, and what was last applied.
        leases: takes turns with other runs.
        chronicle: writes down what each run changed.
    """

    def __init__(
        self, access: TailnetAccess, tailnet: Tailnet, file: PolicyFile, stack: TailnetStack, journal: Journal,
        leases: Leases, chronicle: Chronicle, clock: Clock, owner: Owner,
    ) -> None:  # fmt: skip
        self._access, self._tailnet, self._file, self._stack = access, tailnet, file, stack
        self._journal, self._leases, self._chronicle = journal, leases, chronicle
        self._clock, self._owner = clock, owner

    def preview(self) -> ChangeSet:
        """Return what `apply` would change beside the policy."""
        return self._stack.preview(
            replace(self._plan(self._access.wanted().policy), policy=self._file.live().text)
        )

    def apply(self, report: Reporter, *, overwrite: str = "") -> Applied:
        """Bring policy and stack up to the registry and the profile, and look at the result.

        Args:
            report: told of each step.
            overwrite: digest of a policy in force that is not ours and may be replaced, or its first 8 hex digits.

        Raises:
            LockedError: another run works on the tailnet, or others write faster than we do (`tailnet-contended`).
            RefusedError: what is in force is neither ours nor named by `overwrite` (`tailnet-edited`).
            VerificationError: a policy's test fails (`tailnet-tests-fail`); nothing was written then. Or what is in
                force in the end is not what was written (`tailnet-differs`).
        """
        with self._leases.hold(TAILNET_ID, "apply", report):
            return self._apply(report, overwrite)

    def follow(self, report: Reporter) -> str:
        """Do so where it is not up to the registry, in the middle of a tenant's run; says what was done."""
        with self._turn(report):
            plan, live, recorded = (
                self._plan(self._access.wanted().policy),
                self._file.live(),
                self._stack.recorded(),
            )
            if recorded is not None and recorded.plan_digest == plan.digest and live.text == plan.policy:
                return "the tailnet is up to the registry"
            return self._apply(report, "").summary()

    def _apply(self, report: Reporter, overwrite: str) -> Applied:
        for _ in range(ATTEMPTS):
            try:
                return self._attempt(report, overwrite)
            except _CollisionError:
                report.note("somebody wrote the tailnet's policy meanwhile; looking again")
        raise LockedError(
            f"the tailnet's policy was changed by somebody else {ATTEMPTS} times in a row",
            code="tailnet-contended",
            remedy="find who writes it (Tailscale's configuration log); then run the same command again",
        )

    def _attempt(self, report: Reporter, overwrite: str) -> Applied:
        composed = self._access.wanted()
        plan, live = self._plan(composed.policy), self._file.live()
        # To the letter: the stack would write another spelling of the same, and on no condition.
        is_there = live.text == plan.policy
        seen = "" if is_there else self._replaceable(live, composed, overwrite)
        subject = Subject(TAILNET_ID, {}, {}, plan.content(), self._stack.state)
        self._chronicle.close_interrupted_of(self._journal.last_run(TAILNET_ID), subject)
        run = self._journal.begin(TAILNET_ID, RunKind.TAILNET, policy_digest(plan.policy), self._owner)
        with closing(self._journal, run), self._chronicle.writing_of(run, subject) as written:
            if not is_there:
                with self._step(run, "policy", "put the registry's policy in force", report) as done:
                    self._write(composed, plan, seen)
                    done.append(
                        f"{len(composed.policy.grants)} grants, {len(composed.policy.tests)} tests hold"
                    )
            with self._step(run, "tailnet", "bring the tailnet's settings up", report) as done:
                written.changes = changes = self._stack.apply(plan, report)
                done.append(changes.summary())
            with self._step(run, "look", "look at the policy in force", report) as done:
                self._require_in_force(plan)
                done.append("it is the registry's")
        return Applied(not is_there, changes)

    def _write(self, composed: Composed, plan: TailnetPlan, seen: str) -> None:
        if failed := Evaluator(composed.policy).failed_tests():
            raise VerificationError(
                "the registry's policy does not pass its own tests",
                code="tailnet-tests-fail",
                remedy="nothing was written; report it with the tests that fail",
                detail="\n".join(failed[:_SHOWN]),
            )
        self._file.validate(plan.policy)
        if not self._file.replace(plan.policy, seen):
            if seen == UNTOUCHED:
                raise self._edited(self._file.live(), composed)
            raise _CollisionError(
                "the policy was changed while it was being replaced",
                code="tailnet-contended",
                remedy="run it again",
            )

    def _replaceable(self, live: LivePolicy, composed: Composed, overwrite: str) -> str:
        """Return the version that may be replaced.

        Raises:
            RefusedError: what is in force is somebody else's (code `tailnet-edited`).
        """
        if _same(live.text, composed.policy.text()):
            return live.version
        digest, recorded = policy_digest(live.text), self._stack.recorded()
        if (recorded is not None and policy_digest(recorded.policy) == digest) or _names(overwrite, digest):
            return live.version
        runs = self._journal.runs(TAILNET_ID)
        if digest in _written_since(runs):
            return live.version
        # A run may have been killed before it wrote: whether nobody ever wrote is for the server to say.
        if recorded is None and not overwrite:
            return UNTOUCHED
        raise self._edited(live, composed)

    def _edited(self, live: LivePolicy, composed: Composed) -> RefusedError:
        digest = policy_digest(live.text)
        return RefusedError(
            f"the policy in force is not what was written here last ({digest.removeprefix('sha256:')[:12]})",
            code="tailnet-edited",
            remedy="see `mutx-infra tailnet preview`; what is to stay goes into specs or profile, then "
            f"`mutx-infra tailnet apply --overwrite {digest.removeprefix('sha256:')[:12]}`",
            detail="\n".join(_difference(self._file.readable(), composed.policy)),
        )

    def _require_in_force(self, plan: TailnetPlan) -> None:
        live = self._file.live()
        if not _same(live.text, plan.policy):
            raise VerificationError(
                "the policy in force is not the one that was written",
                code="tailnet-differs",
                remedy="see `mutx-infra tailnet preview`, then run the same command again",
            )

    def _plan(self, policy: Policy) -> TailnetPlan:
        return plan_tailnet(policy, self._tailnet)

    @contextmanager
    def _turn(self, report: Reporter) -> Iterator[None]:
        """Hold the lease, waiting for who holds it."""
        until = self._clock.now() + timedelta(seconds=PATIENCE_S)
        with ExitStack() as held:
            while True:
                try:
                    held.enter_context(self._leases.hold(TAILNET_ID, "apply", report))
                    break
                except LockedError:
                    if self._clock.now() >= until:
                        raise
                    self._clock.sleep(_BETWEEN_LOOKS_S)
            yield

    def _step(
        self, run: RunRecord, name: str, title: str, report: Reporter
    ) -> AbstractContextManager[list[str]]:
        return journaled_step(self._journal, run, name, title, report)


def _written_since(runs: Sequence[RunRecord]) -> Iterator[str]:
    """Yield the digests of policies that runs may have put in force since the last one that went to its end.

    What a run that died has written is known to nobody else yet. `runs` has the newest first.
    """
    for run in runs:
        if run.kind is not RunKind.TAILNET:
            continue
        yield run.plan_digest
        if run.state == "done":
            return


def _same(one: str, other: str) -> bool:
    return policy_digest(one) == policy_digest(other)


def _names(short: str, digest: str) -> bool:
    """Say whether somebody who wrote `short` means `digest`."""
    short = short.removeprefix("sha256:")
    return len(short) >= SHORTEST_DIGEST and digest.removeprefix("sha256:").startswith(short)


def _difference(live: str, wanted: Policy) -> list[str]:
    try:
        change = compare(read_policy(live), wanted)
    except MutxInfraError as exc:
        return [f"it is not understood here: {exc.message}"]
    lines = [f"loses: {access}" for access in change.lost]
    lines += [f"leaves {group}: {member}" for group, member in change.left]
    lines += [f"gains: {access}" for access in change.gained]
    lines += [f"joins {group}: {member}" for group, member in change.joined]
    lines += [f"other owners: {tag}" for tag in change.owners] + [f"changes: {part}" for part in change.other]
    return lines[:_SHOWN]
