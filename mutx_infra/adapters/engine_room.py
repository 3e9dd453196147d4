"""Where the engine works: one directory and one PULUMI_HOME for each stack, one operation at a time.

The program runs inline, in this process; the engine runs supervised (`engine_command`). The SDK keeps the running
program's settings in process-wide state, so that a process works on one stack at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from pulumi import automation as auto

from mutx_infra.adapters.engine_command import SupervisedEngine
from mutx_infra.adapters.engine_failure import Stake, failure_of
from mutx_infra.adapters.file_backend import StateFile, without_sidecars
from mutx_infra.adapters.lean_stack import LeanStack
from mutx_infra.adapters.pulumi_events import EventCollector, plain
from mutx_infra.adapters.pulumi_recovery import StateLock, parse_lock
from mutx_infra.adapters.stack_settings import restore_seal, write_stack_settings, write_yaml
from mutx_infra.environment import PulumiBackend
from mutx_infra.errors import LockedError, OutsideError
from mutx_infra.records import Owner

_NO_STACK = "no stack named"
_TORN_STATE = "failed to load checkpoint"
_one_at_a_time = Lock()


@dataclass(frozen=True, slots=True)
class StackProgram:
    """A stack and what runs in it.

    Attributes:
        config: the providers' settings, as in a stack's settings file.
        run: registers the resources.
    """

    name: str
    project: str
    config: Mapping[str, object]
    run: Callable[[], None]


class EngineRoom:
    """Runs engine operations at one state backend.

    Args:
        engine: the engine found on this machine.
        place: state backend and secrets provider.
        root: below it each stack has its directory.
        owner: this process, to tell our own machine's dead lock holders from others'.
        is_running: says whether a pid of this machine is alive.
    """

    def __init__(
        self, engine: SupervisedEngine, place: PulumiBackend, root: Path, owner: Owner,
        is_running: Callable[[int], bool],
    ) -> None:  # fmt: skip
        self.engine, self.root = engine, root
        self._place, self._owner, self._is_running = place, owner, is_running

    @contextmanager
    def operation(self, whose: str) -> Iterator[None]:
        """Work on one stack.

        Raises:
            LockedError: this process works on one already (code `stack-busy`).
        """
        if not _one_at_a_time.acquire(blocking=False):
            raise LockedError(
                "this process already works on a stack",
                code="stack-busy",
                remedy=f"work on {whose} from a process of its own; the Pulumi SDK runs one program per process",
            )
        try:
            yield
        finally:
            _one_at_a_time.release()

    def stack(
        self, program: StackProgram, *, root: Path | None = None, backend: str | None = None
    ) -> auto.Stack:
        """Return a stack with its settings written; elsewhere than usual where `root` and `backend` say so."""
        work_dir = (root or self.root) / program.name
        home = work_dir / "home"
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        backend = without_sidecars(backend or self._place.backend_url)
        project = {"name": program.project, "runtime": "python", "backend": {"url": backend}}
        write_yaml(work_dir / "Pulumi.yaml", project)
        write_stack_settings(work_dir / f"Pulumi.{program.name}.yaml", program.config, self._place)
        provider = self._place.secrets_provider
        workspace = auto.LocalWorkspace(
            work_dir=str(work_dir),
            pulumi_home=str(home),
            program=program.run,
            env_vars={"PULUMI_BACKEND_URL": backend},
            secrets_provider=None if provider == "passphrase" else provider,
            pulumi_command=self.engine,
        )
        return LeanStack(program.name, workspace)

    def run(self, collector: EventCollector, stake: Stake, action: Callable[[], object]) -> None:
        """Run one engine operation; a lock whose holder is dead is removed once, then the operation runs again."""
        try:
            action()
        except auto.CommandError as exc:
            lock = parse_lock(str(exc))
            if lock is None or not lock.is_held_by_dead(self._owner, self._is_running):
                raise failure_of(stake, collector, exc) from exc
            self._remove_lock(stake, lock)
            try:
                action()
            except auto.CommandError as again:
                raise failure_of(stake, collector, again) from again

    def create(self, stack: auto.Stack, stake: Stake) -> None:
        """Make an empty stack."""
        self.run(EventCollector(), stake, lambda: stack.workspace.create_stack(stack.name))

    def load(self, stack: auto.Stack, stake: Stake, deployment: dict[str, Any]) -> None:
        """Put a state in the place of a stack's own."""
        whole = auto.Deployment(version=3, deployment=deployment)
        self.run(EventCollector(), stake, lambda: stack.import_stack(whole))

    def deployment(self, stack: auto.Stack, stake: Stake, file: StateFile | None) -> dict[str, Any] | None:
        """Return the stack's state, or None where the backend knows no such stack; its settings can then open it.

        Args:
            stack: whose state is read.
            stake: whose it is.
            file: where it lies in a `file:` backend; read directly, since `pulumi stack export` costs 0.3 s.
        """
        deployment = _read(stack, stake, file)
        if deployment is not None:
            restore_seal(Path(stack.workspace.work_dir, f"Pulumi.{stack.name}.yaml"), deployment)
        return deployment

    def state_file(self, project: str, stack: str) -> StateFile | None:
        """Return where a stack's state lies; None where the backend is no directory."""
        return StateFile.of(self._place.backend_url, project, stack)

    def _remove_lock(self, stake: Stake, lock: StateLock) -> None:
        try:
            self.engine.run(["cancel", "--yes", "--stack", stake.stack], str(self.root / stake.stack), {})
        except auto.CommandError as exc:
            raise OutsideError(
                f"the state lock of {stake.whose}, left by {lock}, could not be removed",
                code="stack-lock-stuck",
                remedy=f"run `{stake.unlock}`",
                detail=plain(str(exc))[:400],
            ) from exc


def _read(stack: auto.Stack, stake: Stake, file: StateFile | None) -> dict[str, Any] | None:
    if file is not None and not file.may_exist():
        return None
    if file is not None and (deployment := file.read()) is not None:
        return deployment
    try:
        return _export(stack)
    except auto.CommandError as exc:
        if file is None or _TORN_STATE not in str(exc) or not file.mend():
            raise failure_of(stake, EventCollector(), exc) from exc
    try:
        return _export(stack)
    except auto.CommandError as exc:
        raise failure_of(stake, EventCollector(), exc) from exc


def _export(stack: auto.Stack) -> dict[str, Any] | None:
    try:
        return dict(stack.export_stack().deployment or {})
    except auto.CommandError as exc:
        if _NO_STACK in str(exc):
            return None
        raise
