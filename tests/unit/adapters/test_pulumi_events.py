"""The engine's events as changes, outputs and diagnoses."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi.automation import EngineEvent

from mutx_infra.adapters.pulumi_events import SECRET_SIGNATURE, EventCollector, plain
from mutx_infra.changes import ChangeSet, Operation
from mutx_infra.errors import OutsideError

VPC = "urn:pulumi:acme::mutx-tenant::mutx:network:TenantNetwork$aws:ec2/vpc:Vpc::acme-vpc"
END = EngineEvent.from_json({"sequence": 2, "timestamp": 2, "cancelEvent": {}})
STACK = "urn:pulumi:acme::mutx-tenant::pulumi:pulumi:Stack::mutx-tenant-acme"


def step(event: str, op: str, kind: str, urn: str, **more: Any) -> EngineEvent:
    metadata = {"op": op, "urn": urn, "type": kind, "provider": "", **more}
    return EngineEvent.from_json({"sequence": 1, "timestamp": 1, event: {"metadata": metadata}})


def begins(op: str, kind: str = "aws:ec2/vpc:Vpc", urn: str = VPC, **more: Any) -> EngineEvent:
    return step("resourcePreEvent", op, kind, urn, **more)


def diagnostic(severity: str, message: str, urn: str = "") -> EngineEvent:
    event = {"message": message, "color": "raw", "severity": severity, "urn": urn}
    return EngineEvent.from_json({"sequence": 1, "timestamp": 1, "diagnosticEvent": event})


def changes_of(*events: EngineEvent, watcher: Watcher | None = None) -> ChangeSet:
    """Return what an operation with these events has changed."""
    collector = EventCollector(watcher)
    for event in (*events, END):
        collector(event)
    return collector.changes


class Watcher:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bool]] = []

    def resource(self, operation: str, kind: str, name: str, *, done: bool) -> None:
        self.seen.append((operation, name, done))


@pytest.mark.parametrize(
    ("op", "operation"),
    [
        ("create", "create"),
        ("import", "create"),
        ("update", "update"),
        ("replace", "replace"),
        ("delete", "delete"),
    ],
)
def test_a_step_that_changes_something_is_a_change(op: str, operation: str) -> None:
    (change,) = changes_of(begins(op, diffs=["tags", "cidrBlock"])).changes

    assert (change.operation, change.name) == (Operation(operation), "acme-vpc")
    assert change.fields == ("cidrBlock", "tags")


def test_the_halves_of_a_replacement_count_once() -> None:
    halves = ("create-replacement", "replace", "delete-replaced")

    changes = changes_of(*(begins(op) for op in halves)).changes

    assert [change.operation for change in changes] == [Operation.REPLACE]


def test_what_stays_is_counted_and_not_reported() -> None:
    watcher = Watcher()

    changes = changes_of(begins("same"), watcher=watcher)

    assert (changes.is_empty, changes.unchanged, watcher.seen) == (True, 1, [])


def test_what_breaks_off_is_not_taken_for_no_change() -> None:
    collector = EventCollector()

    collector(begins("same"))

    with pytest.raises(OutsideError, match="to the end") as raised:
        _ = collector.changes
    assert raised.value.code == "engine-account-lost"


@pytest.mark.parametrize(
    "kind", ["pulumi:providers:aws", "mutx:network:TenantNetwork", "pulumi:pulumi:Stack"]
)
def test_what_costs_nothing_in_the_cloud_is_left_out(kind: str) -> None:
    assert changes_of(begins("create", kind)).is_empty


def test_progress_is_told_at_begin_and_end() -> None:
    watcher = Watcher()
    collector = EventCollector(watcher)

    collector(begins("create"))
    collector(step("resOutputsEvent", "create", "aws:ec2/vpc:Vpc", VPC))

    assert watcher.seen == [("create", "acme-vpc", False), ("create", "acme-vpc", True)]


def test_outputs_are_the_stacks_and_secrets_in_them_are_masked() -> None:
    collector = EventCollector()
    secret = {SECRET_SIGNATURE: "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:abc"}
    outputs = {"vpc_id": "vpc-1", "keys": {"one": secret, "more": [secret, "open"]}}
    new = {
        "type": "pulumi:pulumi:Stack",
        "urn": STACK,
        "id": "",
        "parent": "",
        "inputs": {},
        "outputs": outputs,
    }

    collector(step("resOutputsEvent", "same", "pulumi:pulumi:Stack", STACK, new=new))

    assert collector.outputs == {"vpc_id": "vpc-1", "keys": {"one": "[secret]", "more": ["[secret]", "open"]}}


def test_errors_name_their_resource_and_warnings_are_none() -> None:
    collector = EventCollector()

    collector(diagnostic("warning", "careful"))
    collector(diagnostic("error", "<{%reset%}>creating failed:\n  limit<{%reset%}>", VPC))
    collector(diagnostic("error", "acme-vpc: CreateVpc: limit", VPC))
    collector(diagnostic("error", "update failed", STACK))

    assert collector.errors == ["acme-vpc: creating failed: limit", "acme-vpc: CreateVpc: limit"]


def test_the_stacks_own_error_counts_where_no_resource_has_one() -> None:
    collector = EventCollector()

    collector(diagnostic("error", "the program failed", STACK))

    assert collector.errors == ["the program failed"]


def test_plain_text_has_no_markup_and_one_line() -> None:
    assert plain("<{%fg 1%}>error:\x1b[31m bad\x1b[0m\n\n  thing<{%reset%}>") == "error: bad thing"


@pytest.mark.parametrize(
    ("level", "violations"), [("mandatory", ["no-x: acme-vpc: bad; fix it"]), ("advisory", [])]
)
def test_broken_mandatory_rules_are_violations(level: str, violations: list[str]) -> None:
    collector = EventCollector()
    event = {
        "message": "<{%reset%}>No x anywhere<{%reset%}>\nacme-vpc: bad; fix it\n", "color": "raw", "policyName": "no-x",
        "enforcementLevel": level, "resourceUrn": VPC,
    }  # fmt: skip

    collector(EngineEvent.from_json({"sequence": 1, "timestamp": 1, "policyEvent": event}))

    assert collector.violations == violations
