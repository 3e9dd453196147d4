"""Every type of the table lives its life against moto as the official provider would have it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from uuid import uuid4

import pytest
from mutx_sandbox.aws.table import TABLE
from mutx_sandbox.bridge.values import has_unknown

from tests.integration.sandbox.cases import CASES, Case, World, trust
from tests.integration.sandbox.engine_client import Engine, Resource

pytestmark = pytest.mark.integration

CHANGES_IN_PLACE = [case for case in CASES if case.update]
REPLACES = [case for case in CASES if case.replace]
DRIFTS = [case for case in CASES if case.drift]
CAN_BE_REMOVED = [case for case in CASES if case.remove]
MUST_NOT_REPEAT = [case for case in CASES if case.creates]


def _without(names: frozenset[str], outputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in outputs.items() if name not in names}


def each(cases: Any) -> Any:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.title)


@pytest.fixture
def world(aws: Engine, boto: Any) -> World:
    return World(aws, boto, f"w{uuid4().hex[:8]}")


@pytest.fixture
def made(aws: Engine, world: World, case: Case) -> Resource:
    """The case's resource, and calls counted from here."""
    resource = aws.create(case.token, **case.inputs(world))
    aws.control.calls(reset=True)
    return resource


def test_the_contract_covers_every_type_of_the_table():
    assert {case.token for case in CASES} == set(TABLE)


@each(CASES)
def test_a_new_resource_reads_as_it_was_created(aws, made, case):
    read = aws.read(made)

    assert read is not None
    assert (read.id, read.outputs, read.inputs) == (made.id, made.outputs, made.inputs)


@each(CASES)
def test_a_resource_known_by_id_and_inputs_alone_is_read_in_full(aws, made, case):
    adopted = aws.adopt(made)

    assert adopted is not None
    assert adopted.outputs == made.outputs


@each(CASES)
def test_an_unchanged_program_makes_no_difference(aws, world, made, case):
    found, _ = aws.diff(aws.read(made), **case.inputs(world))

    assert not found.changed, found


@each(CHANGES_IN_PLACE)
def test_a_change_in_place_is_an_update(aws, world, made, case):
    found, _ = aws.diff(made, **{**case.inputs(world), **case.update(world)})

    assert found.changed
    assert not found.replaces


@each(CHANGES_IN_PLACE)
def test_an_update_reaches_aws(aws, world, made, case):
    wanted = {**case.inputs(world), **case.update(world)}

    updated = aws.update(made, **wanted)

    again, _ = aws.diff(aws.read(updated), **wanted)
    assert not again.changed, again
    assert aws.diff(updated, **case.inputs(world))[0].changed


@each(REPLACES)
def test_a_change_that_aws_cannot_make_replaces(aws, world, made, case):
    changed = case.replace(world)

    found, _ = aws.diff(made, **{**case.inputs(world), **changed})

    assert set(found.replaces) == set(changed)
    assert found.deletes_first is case.deletes_first


@each(CASES)
def test_a_deleted_resource_is_gone_and_can_be_deleted_again(aws, made, case):
    aws.delete(made)

    assert (aws.read(made) is None) is not case.endures
    aws.delete(made)


@each(DRIFTS)
def test_a_change_behind_the_back_is_seen_and_repaired(aws, world, made, case):
    wanted = case.inputs(world)
    case.drift(world, made)

    drifted = aws.read(made)
    found, _ = aws.diff(Resource(made.token, made.name, made.id, made.inputs, drifted.outputs), **wanted)
    assert found.changed
    assert not any(found.from_input.values())

    if not found.replaces:
        repaired = aws.update(
            Resource(made.token, made.name, made.id, made.inputs, drifted.outputs), **wanted
        )
        moved = TABLE[case.token].changing
        assert _without(moved, aws.read(repaired).outputs) == _without(moved, made.outputs)


@each(CAN_BE_REMOVED)
def test_a_resource_removed_behind_the_back_reads_as_gone(aws, world, made, case):
    case.remove(world, made)

    assert aws.read(made) is None
    aws.delete(made)


@each(CASES)
def test_an_import_by_the_official_id_gives_the_same_resource(aws, world, made, case):
    imported = aws.import_(case.token, case.import_id(made))

    assert imported is not None
    assert imported.id == made.id
    assert set(aws.diff(imported, **case.inputs(world))[0].kinds) <= case.unread


@each([case for case in CASES if case.import_id(Resource("", "", "x", defaultdict(str), {})) != "x"])
def test_an_import_by_a_malformed_id_says_the_right_form(aws, case):
    with pytest.raises(Exception, match="imported as"):
        aws.import_(case.token, "nonsense")


@each(CASES)
def test_a_preview_calls_nothing_and_leaves_to_aws_what_only_aws_knows(aws, world, case):
    inputs = case.inputs(world)
    aws.control.calls(reset=True)

    planned = aws.create(case.token, preview=True, **inputs)

    assert aws.control.calls() == {}
    assert planned.id == ""
    for name in TABLE[case.token].outputs:
        assert has_unknown(planned.outputs[name]), name
    assert {name: planned.outputs[name] for name in inputs} == inputs


@each(MUST_NOT_REPEAT)
def test_a_creation_whose_answer_is_lost_makes_one_resource(aws, world, case):
    inputs = case.inputs(world)
    aws.control.calls(reset=True)
    aws.control.set_faults(f"drop-response:operation={case.creates},times=1")

    made = aws.create(case.token, **inputs)

    assert aws.control.calls()[case.creates] == 1
    assert aws.read(made).outputs == made.outputs


@each(CASES)
def test_server_errors_throttling_and_lost_requests_are_outlived(aws, world, case):
    inputs = case.inputs(world)
    aws.control.set_faults("500:every=4", "throttle:every=5", "drop:every=7")

    made = aws.create(case.token, **inputs)
    read = aws.read(made)
    aws.delete(made)

    assert read.outputs == made.outputs


@each(CASES)
def test_creation_needs_few_calls(made, case, aws, world):
    aws.control.set_faults()
    limits = {
        "Vpc": 5,
        "DefaultSecurityGroup": 6,
        "LaunchTemplate": 3,
        "Policy": 3,
        "Instance": 3,
        "Key": 3,
        "Bucket": 4,
    }

    aws.delete(made)
    aws.control.calls(reset=True)
    aws.create(case.token, **case.inputs(world))

    assert sum(aws.control.calls().values()) <= limits.get(case.title, 2)


def test_a_lost_answer_is_found_where_another_type_has_the_same_name(aws, world):
    """A role and an instance profile of one name: the role's is not the profile's."""
    name = f"{world.name}-same"
    aws.create("aws:iam/role:Role", name=name, assumeRolePolicy=trust("ec2"))
    aws.control.set_faults("drop-response:operation=CreateInstanceProfile,times=1")

    made = aws.create("aws:iam/instanceProfile:InstanceProfile", name=name, role=name)

    assert made.id == name
