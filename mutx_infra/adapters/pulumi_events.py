"""The engine's event stream → changes, outputs and diagnoses."""

from __future__ import annotations

import re

from pulumi.automation import EngineEvent
from pulumi.automation.events import StepEventMetadata

from mutx_infra.changes import ChangeSet, Operation, ResourceChange
from mutx_infra.errors import OutsideError
from mutx_infra.ports import ProgressWatcher

STACK_TYPE = "pulumi:pulumi:Stack"
SECRET_SIGNATURE = "4dabf18193072939515e22adb298388d"  # noqa: S105 - the key that marks a secret in Pulumi's wire format

_OPERATIONS = {
    "create": Operation.CREATE,
    "import": Operation.CREATE,
    "update": Operation.UPDATE,
    "replace": Operation.REPLACE,
    "delete": Operation.DELETE,
}
"""Steps that change something; the halves of a replacement (`create-replacement`, …) are counted by `replace`."""

_UNCHANGED = frozenset({"same"})
_MARKUP = re.compile(r"<\{%[^%]*%\}>")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class EventCollector:
    """Receives events from the engine's thread and sums them up.

    Attributes:
        errors: messages of severity `error`, each with the name of its resource in front.
        outputs: the stack's outputs, with secrets masked by the engine.
        violations: mandatory rules of a policy pack that the program breaks, each with the rule's name in front.
    """

    def __init__(self, watch: ProgressWatcher | None = None) -> None:
        self._watch = watch
        self._changes: dict[str, ResourceChange] = {}
        self._same: set[str] = set()
        self._is_whole = False
        self.errors: list[str] = []
        self.violations: list[str] = []
        self.outputs: dict[str, object] | None = None

    def __call__(self, event: EngineEvent) -> None:
        """Take in one event."""
        if event.resource_pre_event:
            self._begins(event.resource_pre_event.metadata)
        elif event.res_outputs_event:
            self._ended(event.res_outputs_event.metadata)
        elif event.policy_event and event.policy_event.enforcement_level == "mandatory":
            # The message begins with the rule's description, on a line of its own.
            lines = [text for line in event.policy_event.message.splitlines() if (text := plain(line))]
            self.violations.append(f"{event.policy_event.policy_name}: {' '.join(lines[1:] or lines)}")
        elif event.diagnostic_event and event.diagnostic_event.severity == "error":
            diagnosis = event.diagnostic_event
            self._failed(diagnosis.urn, plain(diagnosis.message))
        elif event.cancel_event:
            # The last of every operation, whatever its end.
            self._is_whole = True

    @property
    def changes(self) -> ChangeSet:
        """What the operation has changed; components and providers, which cost nothing in the cloud, are left out.

        Raises:
            OutsideError: its events broke off: the SDK says nothing then, and no change would be claimed where there
                are some (code `engine-account-lost`).
        """
        if not self._is_whole:
            raise OutsideError(
                "the engine has ended, but what it said of its changes did not get here to the end",
                code="engine-account-lost",
                remedy="run the same command again; what was changed is in the stack's state",
            )
        changes = tuple(sorted(self._changes.values(), key=lambda change: (change.kind, change.name)))
        return ChangeSet(changes=changes, unchanged=len(self._same))

    def _failed(self, urn: str | None, message: str) -> None:
        if not urn or STACK_TYPE in urn:
            # The stack's own message ("update failed") says nothing once a resource's stands before it.
            if not self.errors:
                self.errors.append(message)
            return
        name = f"{_name(urn)}: "
        self.errors.append(message if message.startswith(name) else name + message)

    def _begins(self, step: StepEventMetadata) -> None:
        if not _is_cloud_resource(step.type):
            return
        operation = _OPERATIONS.get(str(step.op.value))
        if operation is not None:
            change = ResourceChange(
                operation=operation,
                kind=step.type,
                name=_name(step.urn),
                fields=tuple(sorted(step.diffs or ())),
            )
            self._changes[step.urn] = change
        elif str(step.op.value) in _UNCHANGED:
            self._same.add(step.urn)
        self._tell(step, done=False)

    def _ended(self, step: StepEventMetadata) -> None:
        if step.type == STACK_TYPE and step.new and step.new.outputs is not None:
            self.outputs = {key: _masked(value) for key, value in step.new.outputs.items()}
        elif _is_cloud_resource(step.type):
            self._tell(step, done=True)

    def _tell(self, step: StepEventMetadata, *, done: bool) -> None:
        if self._watch and str(step.op.value) not in _UNCHANGED:
            self._watch.resource(str(step.op.value), step.type, _name(step.urn), done=done)


def plain(text: str) -> str:
    """Return a message without the engine's colour markup and without ANSI codes, on one line."""
    return " ".join(_ANSI.sub("", _MARKUP.sub("", text)).split())


def _masked(value: object) -> object:
    if isinstance(value, dict):
        if SECRET_SIGNATURE in value:
            return "[secret]"
        return {key: _masked(inner) for key, inner in value.items()}
    return [_masked(inner) for inner in value] if isinstance(value, list) else value


def _is_cloud_resource(kind: str) -> bool:
    return not kind.startswith(("pulumi:", "mutx:"))


def _name(urn: str) -> str:
    return urn.rsplit("::", 1)[-1]
