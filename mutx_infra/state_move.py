"""Moves a stack's state from one backend to another, so that at every moment at most one of them has the stack.

The stack is renamed out of the way where it was, copied under that name, compared, and gets its own name back where it
arrives. A name is what the engine finds a stack by: so neither the toolkit nor plain `pulumi` can write to the place
that was left, and what was left stays readable under its other name. Whatever dies halfway, the next run goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mutx_infra.errors import MutxInfraError, RefusedError, VerificationError
from mutx_infra.naming import is_parked_stack, moved_stack, moving_stack
from mutx_infra.ports import Reporter, StateBackend

State = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Moved:
    """What a move has done: how many resources the state holds, and whether this run moved it or an earlier one."""

    resources: int
    is_new: bool


class StateMove:
    """One move of one stack; its name while it is under way says where to.

    Args:
        stack: the stack's name.
        source: where it is.
        target: where it shall be.
    """

    def __init__(self, stack: str, source: StateBackend, target: StateBackend) -> None:
        self._stack, self._source, self._target = stack, source, target
        self._moving, self._moved = moving_stack(stack, target.url), moved_stack(stack)

    def run(self, report: Reporter) -> Moved:
        """Move the state; safe to repeat after a crash at any point of it.

        Raises:
            RefusedError: nothing can be moved, or what stands at either place is not what a move leaves there.
            VerificationError: the copy differs from the original, which has its name again (code `state-differs`).
        """
        there, here = self._target.stacks(), self._source.stacks()
        if self._stack in there:
            return self._finish(here, there)
        with _step(report, "park", f"take the name {self._stack} away from where it is") as done:
            self._park(here)
            done.append(f"{self._moving} at {self._source.url}")
        try:
            number = self._copy(report)
        except MutxInfraError:
            self._source.rename(self._moving, self._stack)
            raise
        with _step(report, "arrive", f"give the copy the name {self._stack}") as done:
            self._target.rename(self._moving, self._stack)
            self._leave()
            done.append(f"{self._stack} is at {self._target.url}; {self._moved} stays readable where it was")
        return Moved(number, is_new=True)

    def _park(self, here: frozenset[str]) -> None:
        if self._stack not in here:
            self._require_under_way(here)
            return
        state = self._source.opened(self._stack)
        if state.get("pending_operations"):
            raise RefusedError(
                f"the state of {self._stack} holds operations whose end was never recorded",
                code="state-unfinished",
                remedy="run `mutx-infra platform create` first, which settles them",
            )
        if self._moving in here:
            # An engine that died while it renamed leaves both names with one content.
            self._require_same(self._source, self._moving, state)
            self._source.remove(self._moving)
        # That the target takes a stack, and seals it, is found out before the source is touched.
        self._target.begin(self._moving)
        self._source.rename(self._stack, self._moving)

    def _copy(self, report: Reporter) -> int:
        with _step(report, "copy", "copy the state and seal it anew") as done:
            self._target.begin(self._moving)
            self._target.load(self._moving, self._source.sealed(self._moving))
            done.append(self._target.url)
        with _step(report, "compare", "compare the copy with the original") as done:
            state = self._source.opened(self._moving)
            lost = list(differences(state, self._target.opened(self._moving)))
            if lost:
                raise VerificationError(
                    f"the copied state of {self._stack} differs from the original in {len(lost)} place(s)",
                    code="state-differs",
                    remedy="nothing was moved; run the same command again, and if it stays so, keep both and report it",
                    detail="\n".join(lost[:20]),
                )
            number = len(state.get("resources") or [])
            done.append(f"{number} resources are the same")
        return number

    def _finish(self, here: frozenset[str], there: frozenset[str]) -> Moved:
        """Put away what a run left that died after the copy had its name."""
        if self._stack in here:
            raise RefusedError(
                f"{self._target.url} has a stack {self._stack} already, and so has the backend of the profile",
                code="state-exists",
                remedy="name another place with `--to`, or remove the stack that is not in use",
            )
        state = self._target.opened(self._stack)
        if self._moving in there:
            self._require_same(self._target, self._moving, state)
            self._target.remove(self._moving)
        if self._moving in here:
            self._leave()
        return Moved(len(state.get("resources") or []), is_new=False)

    def _leave(self) -> None:
        """Mark what stays at the source as moved; an older remainder of that name gives way."""
        if self._moved in self._source.stacks():
            self._source.remove(self._moved)
        self._source.rename(self._moving, self._moved)

    def _require_under_way(self, here: frozenset[str]) -> None:
        if self._moving in here:
            return
        others = sorted(name for name in here if is_parked_stack(self._stack, name))
        raise RefusedError(
            f"there is no state of {self._stack} at {self._source.url}"
            + (f", but {', '.join(others)}: it was moved from there, or is on its way" if others else ""),
            code="state-missing",
            remedy="choose the environment profile whose `pulumi.backend_url` has it; "
            "a move that was interrupted is finished with the same `--to`",
        )

    def _require_same(self, backend: StateBackend, name: str, state: State) -> None:
        if list(differences(_renamed(backend.opened(name), name, self._stack), state)):
            raise RefusedError(
                f"{backend.url} has both {self._stack} and {name}, and they differ",
                code="state-ambiguous",
                remedy=f"look at both with `pulumi stack export`; remove {name} with `pulumi stack rm --force` "
                "if it is the older one",
            )


@contextmanager
def _step(report: Reporter, name: str, title: str) -> Iterator[list[str]]:
    done: list[str] = []
    with report.step(name, title, done):
        yield done


def differences(one: State, other: State) -> Iterator[str]:
    """Yield where two states differ, by resource and field; never a value, since secrets are open in them."""
    ours, theirs = _by_key(one), _by_key(other)
    for key in sorted({*ours, *theirs}):
        name = key[0].rsplit("::", 1)[-1]
        if key not in theirs:
            yield f"{name} is missing"
        elif key not in ours:
            yield f"{name} is new"
        else:
            fields = sorted({*ours[key], *theirs[key]})
            yield from (f"{name}: {f}" for f in fields if ours[key].get(f) != theirs[key].get(f))
    if list(ours) != list(theirs):
        yield "the order of the resources"


def _by_key(state: State) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return the resources by URN and id: one that is being replaced stands there twice with one URN."""
    return {(r["urn"], str(r.get("id", ""))): r for r in state.get("resources") or []}


def _renamed(value: Any, old: str, new: str) -> Any:  # noqa: ANN401 - JSON
    """Return a state as it would be under another name of its stack, which is part of every URN."""
    if isinstance(value, dict):
        return {key: _renamed(inner, old, new) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner, old, new) for inner in value]
    prefix = f"urn:pulumi:{old}::"
    if not isinstance(value, str) or not value.startswith(prefix):
        return value
    rest = value.removeprefix(prefix)
    if "::pulumi:pulumi:Stack::" in rest:
        rest = f"{rest.removesuffix(old)}{new}"
    return f"urn:pulumi:{new}::{rest}"
