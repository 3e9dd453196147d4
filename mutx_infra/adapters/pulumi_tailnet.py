"""`TailnetStack` by the Pulumi engine: the tailnet's one stack, beside those of tenants and in a project of its own."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pulumi import automation as auto

from mutx_infra.adapters.child_environment import child_environment
from mutx_infra.adapters.engine_command import SupervisedEngine
from mutx_infra.adapters.engine_failure import Stake
from mutx_infra.adapters.engine_room import EngineRoom, StackProgram
from mutx_infra.adapters.pulumi_engine import Engine
from mutx_infra.adapters.pulumi_events import STACK_TYPE, EventCollector
from mutx_infra.adapters.pulumi_program import tailnet_program
from mutx_infra.adapters.pulumi_recovery import has_pending
from mutx_infra.adapters.supervised import GRACE_S, is_at_work
from mutx_infra.adapters.tailscale_login import credentials_of
from mutx_infra.adapters.tailscale_lost import LostCreations
from mutx_infra.changes import ChangeSet
from mutx_infra.environment import Environment
from mutx_infra.environment_tailnet import Tailnet
from mutx_infra.naming import TAILNET_PROJECT, TAILNET_STACK
from mutx_infra.ports import ProgressWatcher
from mutx_infra.records import Owner
from mutx_infra.tailnet.plan import TAILNET_ID, TailnetPlan
from mutx_infra.tailnet_ports import Recorded

LIMIT_S = 600.0
_POLICY = "tailscale:index/acl:Acl"
_STAKE = Stake(
    "the tailnet", TAILNET_STACK, "mutx-infra tailnet apply", f"pulumi cancel --stack {TAILNET_STACK}"
)


class PulumiTailnet:
    """The stack of one environment's tailnet.

    Args:
        engine: the engine found on this machine.
        environment: the environment profile in force.
        variables: the process environment; of the tailnet's part the engine gets the credential alone.
        state: the toolkit's state directory.
        lost: deletes what a dead engine has made unrecorded.
        owner: this process.
        is_running: says whether a pid of this machine is alive.
        sleep: waits.
    """

    def __init__(
        self, engine: Engine, environment: Environment, variables: Mapping[str, str], state: Path,
        lost: LostCreations, owner: Owner, is_running: Callable[[int], bool], sleep: Callable[[float], None],
    ) -> None:  # fmt: skip
        self._lost, self._sleep = lost, sleep
        self._config = tailnet_config(environment.tailnet)
        self._root = state / "stacks" / environment.name / TAILNET_ID
        child = child_environment(variables, environment) | credentials_of(environment.tailnet, variables)
        self._engine = SupervisedEngine(engine.path, engine.version, child, limit_s=LIMIT_S)
        self._room = EngineRoom(self._engine, environment.pulumi, self._root, owner, is_running)

    @contextmanager
    def guard(self, silence_s: float) -> Iterator[Callable[[], None]]:
        """Bind engine processes to a lease."""
        with self._engine.bound_to_lease(silence_s) as beat:
            yield beat

    def await_quiet(self, tenant: str) -> None:
        """Wait until the supervisor of a dead process has ended its engine; it needs `GRACE_S` at most."""
        del tenant
        deadline = time.monotonic() + GRACE_S + 5
        while time.monotonic() < deadline and is_at_work(str(self._root)):
            self._sleep(0.1)

    def recorded(self) -> Recorded | None:
        """Return what the stack's state says; None before the first `apply`."""
        with self._room.operation(_STAKE.whose):
            deployment = self._deployment(self._room.stack(self._program(None)))
        resources = (deployment or {}).get("resources") or []
        found = {str(resource["type"]): resource.get("outputs") or {} for resource in resources}
        if _POLICY not in found:
            return None
        digest = str(found.get(STACK_TYPE, {}).get("plan_digest", ""))
        return Recorded(str(found[_POLICY].get("acl", "")), digest)

    def state(self) -> bytes | None:
        """Return the stack's state as JSON, secrets sealed; None where there is no such stack."""
        with self._room.operation(_STAKE.whose):
            deployment = self._deployment(self._room.stack(self._program(None)))
            return None if deployment is None else json.dumps(deployment, sort_keys=True).encode()

    def preview(self, plan: TailnetPlan) -> ChangeSet:
        """Return what `apply` would change; a stack that does not exist yet is planned in a throw-away backend."""
        with self._room.operation(_STAKE.whose):
            stack, collector = self._room.stack(self._program(plan)), EventCollector()
            if self._deployment(stack) is not None:
                self._room.run(collector, _STAKE, lambda: stack.preview(on_event=collector, refresh=True))
                return collector.changes
            with tempfile.TemporaryDirectory(prefix="mutx-preview-") as scratch:
                backend = Path(scratch, "state")
                backend.mkdir()
                trial = self._room.stack(self._program(plan), root=Path(scratch), backend=backend.as_uri())
                self._room.create(trial, _STAKE)
                self._room.run(collector, _STAKE, lambda: trial.preview(on_event=collector))
            return collector.changes

    def apply(self, plan: TailnetPlan, watch: ProgressWatcher) -> ChangeSet:
        """Make the tailnet equal to the plan; the plan's policy is in force already."""
        with self._room.operation(_STAKE.whose):
            stack, collector = self._room.stack(self._program(plan)), EventCollector(watch)
            deployment = self._deployment(stack)
            if deployment is None:
                self._room.create(stack, _STAKE)
            elif has_pending(deployment):
                self._room.load(stack, _STAKE, self._without_pending(deployment))
            must_refresh = deployment is not None
            self._room.run(collector, _STAKE, lambda: stack.up(on_event=collector, refresh=must_refresh))
            return collector.changes

    def _without_pending(self, deployment: Mapping[str, Any]) -> dict[str, Any]:
        """Return a state without the operations whose end nobody recorded, once what they made is gone."""
        known = {str(resource.get("id")) for resource in deployment.get("resources") or []}
        for operation in deployment["pending_operations"]:
            if operation["type"] == "creating":
                resource = operation["resource"]
                self._lost.delete(resource["type"], resource.get("inputs") or {}, known)
        return {name: part for name, part in deployment.items() if name != "pending_operations"}

    def _deployment(self, stack: auto.Stack) -> dict[str, Any] | None:
        return self._room.deployment(stack, _STAKE, self._room.state_file(TAILNET_PROJECT, TAILNET_STACK))

    def _program(self, plan: TailnetPlan | None) -> StackProgram:
        run = tailnet_program(plan) if plan is not None else _nothing
        return StackProgram(TAILNET_STACK, TAILNET_PROJECT, self._config, run)


def tailnet_config(tailnet: Tailnet) -> dict[str, object]:
    """Return the provider's settings; its credential comes by variables."""
    return {"tailscale:tailnet": tailnet.name, "tailscale:baseUrl": tailnet.api_url}


def _nothing() -> None:
    """Stand for the program where a stack is only read."""
