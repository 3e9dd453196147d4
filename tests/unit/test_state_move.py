"""A move of a state that dies at any point is finished by the next, and never are there two to write to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from mutx_infra.errors import OutsideError, RefusedError, VerificationError
from mutx_infra.naming import moved_stack, moving_stack
from mutx_infra.state_move import Moved, StateMove, differences
from tests.support.world import Listener

OLD, NEW = "file:///old", "s3://new"
MOVING, MOVED = moving_stack("platform", NEW), moved_stack("platform")


class KilledError(BaseException):
    """The process is gone: nothing catches it."""


def a_state(stack: str = "platform", **root: Any) -> dict[str, Any]:
    prefix = f"urn:pulumi:{stack}::mutx-platform::"
    top = {
        "urn": f"{prefix}pulumi:pulumi:Stack::mutx-platform-{stack}",
        "type": "pulumi:pulumi:Stack",
        **root,
    }
    vpc = {
        "urn": f"{prefix}aws:ec2/vpc:Vpc::platform-vpc",
        "id": "vpc-1",
        "parent": top["urn"],
        "outputs": {"secret": "open"},
    }
    return {"resources": [top, vpc]}


@dataclass
class Fuse:
    """Lets the process die, or an operation fail, at one point; an operation has two: before and after its effect."""

    left: int | None = None
    error: BaseException = field(default_factory=KilledError)

    def burn(self) -> None:
        if self.left is None:
            return
        if self.left == 0:
            self.left = None
            raise self.error
        self.left -= 1


@dataclass
class MemoryBackend:
    """`ports.StateBackend` as the engine's: a rename writes the new name before it forgets the old one."""

    url: str
    fuse: Fuse
    held: dict[str, dict[str, Any]] = field(default_factory=dict)
    corrupts: bool = False

    def stacks(self) -> frozenset[str]:
        return frozenset(self.held)

    def begin(self, stack: str) -> None:
        self.fuse.burn()
        self.held.pop(stack, None)
        self.fuse.burn()
        self.held[stack] = {}
        self.fuse.burn()

    def sealed(self, stack: str) -> bytes:
        return json.dumps(self.held[stack]).encode()

    def opened(self, stack: str) -> Mapping[str, Any]:
        return self.held[stack]

    def load(self, stack: str, sealed: bytes) -> None:
        self.fuse.burn()
        self.held[stack] = json.loads(sealed)
        if self.corrupts:
            self.held[stack]["resources"].pop()
        self.fuse.burn()

    def rename(self, old: str, new: str) -> None:
        if new in self.held:
            raise OutsideError(f"a stack named {new} already exists", code="x", remedy="x")
        self.fuse.burn()
        text = json.dumps(self.held[old]).replace(f"urn:pulumi:{old}::", f"urn:pulumi:{new}::")
        self.held[new] = json.loads(text.replace(f"mutx-platform-{old}", f"mutx-platform-{new}"))
        self.fuse.burn()
        del self.held[old]
        self.fuse.burn()

    def remove(self, stack: str) -> None:
        self.fuse.burn()
        del self.held[stack]
        self.fuse.burn()


@dataclass
class Places:
    fuse: Fuse = field(default_factory=Fuse)

    def __post_init__(self) -> None:
        self.source = MemoryBackend(OLD, self.fuse, {"platform": a_state()})
        self.target = MemoryBackend(NEW, self.fuse)

    def move(self) -> Moved:
        return StateMove("platform", self.source, self.target).run(Listener())

    @property
    def writable(self) -> list[str]:
        """Where a stack of the name stands that the engine would write to."""
        return [place.url for place in (self.source, self.target) if "platform" in place.held]


def test_a_move_leaves_the_state_there_and_a_readable_remainder_here() -> None:
    places = Places()

    done = places.move()

    assert done == Moved(resources=2, is_new=True)
    assert places.target.held == {"platform": a_state()}
    assert places.source.held == {MOVED: a_state(MOVED)}


def test_a_second_move_changes_nothing() -> None:
    places = Places()
    places.move()

    assert places.move() == Moved(resources=2, is_new=False)
    assert (places.writable, set(places.source.held)) == ([NEW], {MOVED})


@pytest.mark.parametrize("point", range(24))
def test_a_move_killed_at_any_point_is_finished_by_the_next(point: int) -> None:
    places = Places()
    places.fuse.left = point

    try:
        places.move()
    except KilledError:
        assert len(places.writable) <= 1
    places.fuse.left = None
    places.move()

    assert places.target.held == {"platform": a_state()}
    assert places.source.held == {MOVED: a_state(MOVED)}


def test_the_points_reach_to_the_end_of_a_move() -> None:
    places = Places()
    places.fuse.left = 10_000

    places.move()

    assert 10_000 - (places.fuse.left or 0) <= 24


@pytest.mark.parametrize("point", range(8))
def test_a_target_that_fails_before_the_copy_has_arrived_gives_the_name_back(point: int) -> None:
    places = Places()
    places.target.fuse = Fuse(point, OutsideError("no bucket", code="x", remedy="x"))

    with pytest.raises(OutsideError):
        places.move()

    assert places.writable == [OLD]
    assert places.source.held == {"platform": a_state()}
    assert places.move().is_new


@pytest.mark.parametrize("point", range(8, 11))
def test_a_name_that_could_not_be_given_is_given_by_the_next_move(point: int) -> None:
    """Whether a rename that failed took effect cannot be told, so nothing is given back."""
    places = Places()
    places.target.fuse = Fuse(point, OutsideError("no bucket", code="x", remedy="x"))

    with pytest.raises(OutsideError):
        places.move()

    assert OLD not in places.writable
    places.move()
    assert places.writable == [NEW]


def test_a_copy_that_lost_something_is_refused_and_named() -> None:
    places = Places()
    places.target.corrupts = True

    with pytest.raises(VerificationError) as refused:
        places.move()

    assert (refused.value.code, refused.value.detail) == (
        "state-differs",
        "platform-vpc is missing\nthe order of the resources",
    )
    assert places.source.held == {"platform": a_state()}


def test_two_stacks_of_the_name_are_left_alone() -> None:
    places = Places()
    places.target.held["platform"] = a_state()

    with pytest.raises(RefusedError) as refused:
        places.move()

    assert refused.value.code == "state-exists"
    assert len(places.writable) == 2


def test_operations_without_an_end_are_settled_first() -> None:
    places = Places()
    places.source.held["platform"]["pending_operations"] = [{}]

    with pytest.raises(RefusedError) as refused:
        places.move()

    assert refused.value.code == "state-unfinished"
    assert "platform create" in refused.value.remedy
    assert (places.writable, places.target.held) == ([OLD], {})


def test_what_was_moved_elsewhere_is_not_moved_again_from_its_remainder() -> None:
    """A stale remainder at a second target would make two platforms."""
    places = Places()
    places.move()
    elsewhere = MemoryBackend("s3://elsewhere", places.fuse)

    with pytest.raises(RefusedError) as refused:
        StateMove("platform", places.source, elsewhere).run(Listener())

    assert refused.value.code == "state-missing"
    assert MOVED in refused.value.message
    assert elsewhere.held == {}


def test_a_move_under_way_goes_on_to_its_own_target_only() -> None:
    places = Places()
    places.fuse.left = 6
    with pytest.raises(KilledError):
        places.move()
    elsewhere = MemoryBackend("s3://elsewhere", places.fuse)

    with pytest.raises(RefusedError, match=MOVING):
        StateMove("platform", places.source, elsewhere).run(Listener())

    assert elsewhere.held == {}


def test_both_names_with_different_content_are_for_a_person_to_judge() -> None:
    places = Places()
    places.source.held[MOVING] = a_state(MOVING, outputs={"vpc": "another"})

    with pytest.raises(RefusedError) as refused:
        places.move()

    assert refused.value.code == "state-ambiguous"
    assert places.writable == [OLD]


def test_a_state_moved_back_replaces_its_own_remainder() -> None:
    places = Places()
    places.move()

    StateMove("platform", places.target, places.source).run(Listener())

    assert places.writable == [OLD]
    assert places.target.held == {MOVED: a_state(MOVED)}


def test_a_difference_names_resource_and_field_and_no_value() -> None:
    one, other = a_state(), a_state()
    other["resources"][1]["outputs"] = {"secret": "changed"}

    assert list(differences(one, other)) == ["platform-vpc: outputs"]
