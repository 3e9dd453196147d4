"""The stacks of tenants and of the platform, by the Automation API: one engine process for each operation."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from pulumi import automation as auto

from mutx_infra.adapters import policy_pack
from mutx_infra.adapters.aws_lookup import AwsLookup
from mutx_infra.adapters.aws_session import AwsSession
from mutx_infra.adapters.child_environment import child_environment
from mutx_infra.adapters.engine_command import SupervisedEngine
from mutx_infra.adapters.engine_failure import stake_of
from mutx_infra.adapters.engine_room import EngineRoom, StackProgram
from mutx_infra.adapters.file_backend import StateFile
from mutx_infra.adapters.provider_state import with_current_providers
from mutx_infra.adapters.pulumi_backend import PulumiBackendStacks
from mutx_infra.adapters.pulumi_engine import Engine
from mutx_infra.adapters.pulumi_events import EventCollector
from mutx_infra.adapters.pulumi_program import inline_program, start_loading
from mutx_infra.adapters.pulumi_recovery import has_pending, recover
from mutx_infra.adapters.stack_settings import stack_config
from mutx_infra.adapters.supervised import GRACE_S, is_at_work
from mutx_infra.changes import ChangeSet
from mutx_infra.environment import Environment, PulumiBackend
from mutx_infra.errors import RefusedError
from mutx_infra.naming import (
    is_parked_stack,
    project_of,
    resource_name,
    stack_name,
)
from mutx_infra.plan import TenantPlan
from mutx_infra.ports import Reporter
from mutx_infra.records import Owner
from mutx_infra.tenant import PLATFORM_ID

LIMIT_S = 1800.0
"""One engine operation's time limit."""
_WRITERS = {"aws:ec2/instance:Instance", "aws:ec2/flowLog:FlowLog"}


class PulumiStacks:
    """`Stacks` by the Pulumi engine.

    Args:
        engine: the engine found on this machine.
        environment: the environment profile in force.
        variables: the process environment, of which only named parts reach the engine.
        state: the toolkit's state directory.
        session: AWS clients, for recovery's look-ups.
        owner: this process, to tell our own machine's dead lock holders from others'.
        is_running: says whether a pid of this machine is alive.
        sleep: waits.
    """

    def __init__(
        self,
        engine: Engine,
        environment: Environment,
        variables: Mapping[str, str],
        state: Path,
        session: AwsSession,
        owner: Owner,
        is_running: Callable[[int], bool],
        sleep: Callable[[float], None],
    ) -> None:
        self._environment, self._session, self._sleep = environment, session, sleep
        self._root = state / "stacks" / environment.name
        self._engine = SupervisedEngine(
            engine.path, engine.version, child_environment(variables, environment), limit_s=LIMIT_S
        )
        self._room = EngineRoom(self._engine, environment.pulumi, self._root, owner, is_running)
        self._outputs: dict[str, dict[str, object]] = {}

    @contextmanager
    def guard(self, silence_s: float) -> Iterator[Callable[[], None]]:
        """Bind engine processes to a lease: they end unless the yielded function is called every `silence_s`."""
        with self._engine.bound_to_lease(silence_s) as beat:
            yield beat

    def preview(self, plan: TenantPlan, *, refresh: bool) -> ChangeSet:
        """Return what `apply` would change; a stack that does not exist yet is planned in a throw-away backend."""
        start_loading()
        with self._room.operation(plan.tenant):
            file = self._state_file(stack_name(plan.tenant))
            if file is not None and not file.may_exist():
                self._require_not_moved(plan)
                return self._preview_absent(plan)
            stack = self._stack(plan.tenant, plan)
            if self._deployment(stack) is None:
                self._require_not_moved(plan)
                return self._preview_absent(plan)
            collector, packs = EventCollector(), self._packs(stack, plan)
            self._run(
                collector,
                plan.tenant,
                lambda: stack.preview(on_event=collector, refresh=refresh, policy_packs=packs),
            )
            return collector.changes

    def apply(
        self, plan: TenantPlan, *, refresh: bool, report: Reporter, replace: tuple[str, ...] = ()
    ) -> ChangeSet:
        """Make the stack equal to the plan, first recovering what an earlier run left half-made."""
        start_loading()
        with self._room.operation(plan.tenant):
            stack = self._stack(plan.tenant, plan)
            packs = self._packs(stack, plan)
            must_refresh = self._prepare(stack, plan, report)
            if replace:
                self._unprotect(stack, plan.tenant, replace)
            collector = EventCollector(report)
            self._run(
                collector,
                plan.tenant,
                lambda: stack.up(on_event=collector, refresh=refresh or must_refresh, policy_packs=packs),
            )
            policy_pack.remember(Path(stack.workspace.work_dir), plan)
            if collector.outputs is not None:
                self._outputs[plan.tenant] = collector.outputs
            return collector.changes

    def destroy(self, plan: TenantPlan, *, report: Reporter) -> ChangeSet:
        """Delete every resource of the stack, then the stack. Unknown stack: no effect."""
        with self._room.operation(plan.tenant):
            stack = self._stack(plan.tenant, plan)
            if self._deployment(stack) is None:
                return ChangeSet()
            must_refresh = self._prepare(stack, plan, report)
            self._unprotect(stack, plan.tenant, None)
            collector = EventCollector(report)
            self._run(collector, plan.tenant, lambda: stack.destroy(on_event=collector, refresh=must_refresh))
            self._run(collector, plan.tenant, lambda: stack.workspace.remove_stack(stack.name))
            return collector.changes

    def end_writers(self, plan: TenantPlan, *, report: Reporter) -> ChangeSet:
        """Delete hosts and flow log with what hangs on them; the engine leaves the rest, their log groups among it."""
        with self._room.operation(plan.tenant):
            stack = self._stack(plan.tenant, plan)
            if self._deployment(stack) is None:
                return ChangeSet()
            must_refresh = self._prepare(stack, plan, report)
            writers = _urns_of(self._deployment(stack), _WRITERS)
            if not writers:
                return ChangeSet()
            collector = EventCollector(report)
            self._run(
                collector,
                plan.tenant,
                lambda: stack.destroy(
                    on_event=collector, refresh=must_refresh, target=writers, target_dependents=True
                ),
            )
            return collector.changes

    def outputs(self, tenant: str) -> dict[str, object]:
        """Return the outputs that the last `apply` of this process saw."""
        return self._outputs.get(tenant, {})

    def state(self, plan: TenantPlan) -> bytes | None:
        """Return the stack's state as JSON, secrets sealed; None where there is no such stack."""
        with self._room.operation(plan.tenant):
            deployment = self._deployment(self._stack(plan.tenant, plan))
            return None if deployment is None else json.dumps(deployment, sort_keys=True).encode()

    def unlock(self, plan: TenantPlan) -> None:
        """Remove the state backend's lock, whoever holds it."""
        with self._room.operation(plan.tenant):
            stack = self._stack(plan.tenant, plan)
            self._run(EventCollector(), plan.tenant, stack.cancel)

    def await_quiet(self, tenant: str) -> None:
        """Wait until the supervisor of a dead process has ended its engine; it needs `GRACE_S` at most."""
        work_dir = str(self._root / stack_name(tenant))
        deadline = time.monotonic() + GRACE_S + 5
        while time.monotonic() < deadline and is_at_work(work_dir):
            self._sleep(0.1)

    def _prepare(self, stack: auto.Stack, plan: TenantPlan, report: Reporter) -> bool:
        """Make sure that the stack exists and that nothing in it is half-done; True where a refresh must follow."""
        deployment = self._deployment(stack)
        if deployment is None:
            self._require_not_moved(plan)
            self._room.create(stack, stake_of(plan.tenant))
            return False
        current = with_current_providers(deployment, stack_config(self._environment, plan))
        if not has_pending(current):
            if current is not deployment:
                self._room.load(stack, stake_of(plan.tenant), current)
            return False
        recovery = recover(current, self._lookups(plan), self._sleep)
        report.note(recovery.summary())
        self._room.load(stack, stake_of(plan.tenant), recovery.deployment)
        return True

    def backend(self, place: PulumiBackend) -> PulumiBackendStacks:
        """Return the platform's stacks at a backend, worked on by the engine of these stacks and under their lease."""
        stack = stack_name(PLATFORM_ID)
        work_dir = self._root / stack / "moves" / sha256(place.backend_url.encode()).hexdigest()[:8]
        return PulumiBackendStacks(self._engine, place, project_of(PLATFORM_ID), work_dir)

    def _require_not_moved(self, plan: TenantPlan) -> None:
        """Refuse to make anew what was moved away from this backend, or is on its way."""
        if plan.tenant != PLATFORM_ID:
            return
        stack, place = stack_name(plan.tenant), self._environment.pulumi
        file = self._state_file(stack)
        names = file.siblings() if file is not None else self.backend(place).stacks()
        if any(is_parked_stack(stack, name) for name in names):
            raise RefusedError(
                f"the state of {plan.tenant} is not at {place.backend_url} any more: it was moved, or is on its way",
                code="state-moved",
                remedy="set `pulumi.backend_url` and `pulumi.secrets_provider` in the profile to where it is "
                "(`mutx-infra platform show`); `mutx-infra platform move-state` finishes a move that died",
            )

    def _lookups(self, plan: TenantPlan) -> Callable[[str | None], AwsLookup]:
        """Return what finds unrecorded resources in each of the plan's accounts, and refuses any other."""

        @cache
        def lookup_in(account: str | None) -> AwsLookup:
            if account is not None and account not in plan.accounts:
                raise RefusedError(
                    f"the state of {plan.tenant} holds resources of account {account}, which its plan does not name",
                    code="account-mismatch",
                    remedy="put the account back into the spec, and run the same command again",
                )
            return AwsLookup(self._session.for_account(account or plan.account), plan.region)

        return lookup_in

    def _unprotect(self, stack: auto.Stack, tenant: str, names: tuple[str, ...] | None) -> None:
        """Take the protection off what holds data: all of it, or what is named with or without the tenant's id."""
        resources = (self._deployment(stack) or {}).get("resources") or []
        protected = {str(r["urn"]).rsplit("::", 1)[-1]: str(r["urn"]) for r in resources if r.get("protect")}
        if not protected and names is None:
            return
        which = ["--all"]
        if names is not None:
            found = {
                name: protected.get(name) or protected.get(resource_name(tenant, name)) for name in names
            }
            if unknown := sorted(name for name, urn in found.items() if urn is None):
                raise RefusedError(
                    f"{tenant} has no protected resource {', '.join(unknown)}",
                    code="replace-unknown",
                    remedy=f"protected are: {', '.join(sorted(protected)) or 'none'}",
                )
            which = [urn for urn in found.values() if urn is not None]
        for one in which:
            command = ["state", "unprotect", one, "--yes", "--stack", stack.name]
            self._run(
                EventCollector(), tenant, lambda command=command: stack.workspace.pulumi_command.run(  # type: ignore[misc]
                    command, stack.workspace.work_dir, stack.workspace.env_vars
                ),
            )  # fmt: skip

    def _deployment(self, stack: auto.Stack) -> dict[str, Any] | None:
        return self._room.deployment(stack, stake_of(stack.name), self._state_file(stack.name))

    def _state_file(self, stack: str) -> StateFile | None:
        return self._room.state_file(project_of(stack), stack)

    def _preview_absent(self, plan: TenantPlan) -> ChangeSet:
        with tempfile.TemporaryDirectory(prefix="mutx-preview-") as scratch:
            backend = Path(scratch, "state")
            backend.mkdir()
            stack = self._stack(plan.tenant, plan, root=Path(scratch), backend=backend.as_uri())
            collector = EventCollector()
            self._run(collector, plan.tenant, lambda: stack.workspace.create_stack(stack.name))
            packs = self._packs(stack, plan)
            self._run(collector, plan.tenant, lambda: stack.preview(on_event=collector, policy_packs=packs))
            return collector.changes

    def _packs(self, stack: auto.Stack, plan: TenantPlan) -> list[str]:
        """Return the policy packs that the program still has to pass."""
        work_dir = Path(stack.workspace.work_dir)
        if policy_pack.has_passed(work_dir, plan):
            return []
        pack = policy_pack.write_pack(work_dir)
        path = f"{pack.programs}{os.pathsep}{self._engine.path_variable}"
        stack.workspace.env_vars = {**stack.workspace.env_vars, "PATH": path}
        return [str(pack.directory)]

    def _stack(
        self, tenant: str, plan: TenantPlan, *, root: Path | None = None, backend: str | None = None
    ) -> auto.Stack:
        program = StackProgram(
            stack_name(tenant),
            project_of(tenant),
            stack_config(self._environment, plan),
            inline_program(plan),
        )
        return self._room.stack(program, root=root, backend=backend)

    def _run(self, collector: EventCollector, tenant: str, action: Callable[[], object]) -> None:
        self._room.run(collector, stake_of(tenant), action)


def _urns_of(deployment: Mapping[str, Any] | None, kinds: Collection[str]) -> list[str]:
    resources = (deployment or {}).get("resources") or []
    return [str(resource["urn"]) for resource in resources if resource["type"] in kinds]
