"""When the platform's state may be moved, and what the profile takes from the platform."""

from __future__ import annotations

import pytest

from mutx_infra.environment import PulumiBackend
from mutx_infra.errors import RefusedError
from mutx_infra.leases import Leases
from mutx_infra.platform_state import PlatformState
from mutx_infra.profile_fields import archive_text, profile_fields
from mutx_infra.records import TenantState
from tests.support.specs import a_spec, an_owner, first_fit
from tests.support.world import Listener, World, a_world
from tests.unit.test_state_move import Fuse, MemoryBackend, a_state

BUCKETS = {
    "state": "mutx-state-1", "history": "mutx-history-1", "archive-1y": "mutx-archive-1y-2", "archive-7y": "x"
}  # fmt: skip
OWN = "s3://mutx-state-1?region=eu-west-1&endpoint=http://127.0.0.1:1&use_path_style=true"


@pytest.fixture
def world() -> World:
    made = a_world()
    spec = a_spec("platform", tier="platform", archive={"account": "310987654321"})
    made.registry.reserve(spec, first_fit(spec))
    made.registry.update("platform", state=TenantState.READY, outputs={"buckets": BUCKETS})
    return made


@pytest.fixture
def places() -> dict[str, MemoryBackend]:
    return {"file:///state": MemoryBackend("file:///state", Fuse(), {"platform": a_state()})}


def state_of(world: World, places: dict[str, MemoryBackend]) -> PlatformState:
    leases = Leases(world.registry, world.stacks, an_owner(), lambda _: True)

    def at(place: PulumiBackend) -> MemoryBackend:
        return places.setdefault(place.backend_url, MemoryBackend(place.backend_url, Fuse()))

    return PlatformState(world.environment, world.registry, leases, at)


def test_the_state_goes_into_the_platform_s_own_bucket_under_its_own_key(
    world: World, places: dict[str, MemoryBackend]
) -> None:
    place, done = state_of(world, places).move(None, None, Listener())

    assert done.is_new
    assert place.backend_url == OWN
    assert (
        place.secrets_provider
        == "awskms://alias/mutx/platform/state?region=eu-west-1&endpoint=http://127.0.0.1:1"
    )
    assert "platform" in places[OWN].held
    assert world.registry.lease("platform") is None


def test_it_goes_where_it_is_told(world: World, places: dict[str, MemoryBackend]) -> None:
    place, _done = state_of(world, places).move("s3://other", "awskms://k", Listener())

    assert (place.backend_url, place.secrets_provider) == ("s3://other", "awskms://k")
    assert "platform" in places["s3://other"].held


def test_where_the_profile_has_it_already_nothing_is_done(
    world: World, places: dict[str, MemoryBackend]
) -> None:
    place, done = state_of(world, places).move("file:///state", None, Listener())

    assert (place.backend_url, done.is_new, done.resources) == ("file:///state", False, 2)


def test_no_platform_no_move(places: dict[str, MemoryBackend]) -> None:
    with pytest.raises(RefusedError) as refused:
        state_of(a_world(), places).move(None, None, Listener())

    assert refused.value.code == "platform-missing"


def test_a_platform_that_is_not_ready_is_finished_first(
    world: World, places: dict[str, MemoryBackend]
) -> None:
    world.registry.update("platform", state=TenantState.FAILED)

    with pytest.raises(RefusedError) as refused:
        state_of(world, places).move(None, None, Listener())

    assert refused.value.code == "platform-not-ready"
    assert "platform create" in refused.value.remedy
    assert set(places) == {"file:///state"}


def test_a_move_that_died_is_finished_whatever_failed_since(
    world: World, places: dict[str, MemoryBackend]
) -> None:
    source = places["file:///state"]
    places[OWN] = MemoryBackend(OWN, Fuse(5, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        state_of(world, places).move(None, None, Listener())
    world.registry.update("platform", state=TenantState.FAILED)

    state_of(world, places).move(None, None, Listener())

    assert "platform" in places[OWN].held
    assert "platform" not in source.held


def test_the_profile_s_fields_are_those_that_its_users_read(world: World) -> None:
    record = world.registry.tenant("platform")
    assert record is not None

    fields = profile_fields(record, None)

    assert fields == {
        "history.url": "s3://mutx-history-1?region=eu-west-1",
        "pulumi.backend_url": "s3://mutx-state-1?region=eu-west-1",
        "pulumi.secrets_provider": "awskms://alias/mutx/platform/state?region=eu-west-1",
        "archive.url": "s3://mutx-archive-1y-2?region=eu-west-1",
        "archive.account": "310987654321",
    }


def test_an_archive_that_is_not_apart_is_said_so() -> None:
    assert "not apart" in archive_text("1", "1")
    assert "not apart" not in archive_text("1", "2")
