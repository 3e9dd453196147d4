"""The archive of logs: every event once, whatever stops the keeping of it; and every way of changing it shows."""

from __future__ import annotations

import gzip
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutx_infra.adapters.object_files import FileObjects
from mutx_infra.archive import LogArchive, Manifest, life_of
from mutx_infra.errors import OutsideError, RefusedError, VerificationError
from mutx_infra.log_events import difference, from_line, merged, to_line
from mutx_infra.records import LogEvent
from tests.support.world import MemoryObjects

BLANK = Manifest(
    tenant="acme", life="20260102T030405Z", account="123456789012", region="eu-west-1",
    group="/mutx/acme/hosts", retention_days=365, control="AUDIT-1",
)  # fmt: skip
FOLDER = "acme/20260102T030405Z/hosts/"


def an_event(number: int, message: str = "login", stream: str = "agent-1") -> LogEvent:
    return LogEvent(1_767_322_000_000 + number // 3, 1_767_322_005_000, stream, f"{message} {number}")


EVENTS = [an_event(number, stream=f"agent-{number % 2}") for number in range(40)]


class KilledError(Exception):
    """The process ends here."""


def an_archive(store: MemoryObjects | FileObjects, chunk_bytes: int = 600) -> LogArchive:
    return LogArchive(store, chunk_bytes)


def kept_events(archive: LogArchive) -> list[LogEvent]:
    return [record.event for record in archive.events("acme", (), None, None)]


@pytest.fixture
def store() -> MemoryObjects:
    return MemoryObjects(days=365)


@pytest.fixture
def archive(store: MemoryObjects) -> LogArchive:
    """An archive that keeps the forty events."""
    made = an_archive(store)
    made.keep(BLANK, lambda: iter(EVENTS))
    return made


def test_every_event_is_read_back_as_it_was(archive: LogArchive) -> None:
    assert Counter(kept_events(archive)) == Counter(EVENTS)
    assert list(archive.problems("acme")) == []


def test_the_manifest_says_what_is_there(archive: LogArchive, store: MemoryObjects) -> None:
    (manifest,) = archive.manifests("acme")

    assert manifest.events == 40
    assert (manifest.first, manifest.last) == (EVENTS[0].timestamp, EVENTS[-1].timestamp)
    assert manifest.streams == {"agent-0": 20, "agent-1": 20}
    assert len(manifest.chunks) > 3
    assert sum(chunk.events for chunk in manifest.chunks) == 40
    assert all(
        sha256(store.objects[f"{FOLDER}{chunk.name}"]).hexdigest() == chunk.sha256
        for chunk in manifest.chunks
    )


def test_a_second_run_writes_nothing(archive: LogArchive, store: MemoryObjects) -> None:
    before = list(store.puts)

    archive.keep(BLANK, lambda: iter(EVENTS))

    assert store.puts == before


def test_events_that_are_all_alike_are_kept_as_often_as_they_occurred(store: MemoryObjects) -> None:
    archive = an_archive(store)
    same = [an_event(0)] * 7

    archive.keep(BLANK, lambda: iter(same))
    archive.keep(BLANK, lambda: iter([*same, an_event(0)]))

    assert kept_events(archive) == [an_event(0)] * 8


def test_a_run_that_is_killed_at_any_write_is_gone_on_with(store: MemoryObjects) -> None:
    archive = an_archive(store)
    archive.keep(BLANK, lambda: iter(EVENTS))
    uninterrupted = dict(store.objects)

    for number in range(len(uninterrupted)):
        again = MemoryObjects(days=365)

        def kill(_name: str, again: MemoryObjects = again, number: int = number) -> None:
            if len(again.puts) == number:
                raise KilledError

        again.meanwhile = kill
        with pytest.raises(KilledError):
            an_archive(again).keep(BLANK, lambda: iter(EVENTS))
        again.meanwhile = lambda _name: None
        an_archive(again).keep(BLANK, lambda: iter(EVENTS))

        assert again.objects == uninterrupted


def test_events_that_arrive_between_two_passes_are_kept_once(store: MemoryObjects) -> None:
    late = [an_event(7, "late"), an_event(90, "later")]
    readings = iter([EVENTS, sorted([*EVENTS, *late])])

    def read() -> Iterator[LogEvent]:
        return iter(next(readings, sorted([*EVENTS, *late])))

    archive = an_archive(store)
    manifest = archive.keep(BLANK, read)

    assert manifest.events == 42
    assert Counter(kept_events(archive)) == Counter([*EVENTS, *late])
    assert list(archive.problems("acme")) == []


def test_events_that_expired_between_two_runs_stay_kept(archive: LogArchive, store: MemoryObjects) -> None:
    manifest = archive.keep(BLANK, lambda: iter([*EVENTS[20:], an_event(200)]))

    assert manifest.events == 41
    assert Counter(kept_events(archive)) == Counter([*EVENTS, an_event(200)])
    assert len([name for name in store.puts if "manifest" in name]) == 2


def test_a_group_that_never_becomes_quiet_is_not_taken_for_kept(store: MemoryObjects) -> None:
    seen: list[LogEvent] = []

    def busy() -> Iterator[LogEvent]:
        seen.append(an_event(3 * len(seen)))
        return iter(list(seen))

    with pytest.raises(OutsideError) as caught:
        an_archive(store).keep(BLANK, busy)

    assert caught.value.code == "logs-not-quiet"
    assert not [name for name in store.puts if "manifest" in name]


def test_a_group_without_an_event_has_a_manifest_that_says_so(store: MemoryObjects) -> None:
    archive = an_archive(store)

    manifest = archive.keep(BLANK, lambda: iter([]))

    assert (manifest.events, manifest.first, manifest.chunks) == (0, None, ())
    assert list(archive.problems("acme")) == []


def test_two_lives_of_one_name_are_kept_apart(archive: LogArchive) -> None:
    later = BLANK.model_copy(update={"life": "20270102T030405Z"})

    archive.keep(later, lambda: iter([an_event(300)]))

    assert [manifest.events for manifest in archive.manifests("acme")] == [40, 1]
    assert {record.folder.life for record in archive.events("acme", (), None, None)} == {
        BLANK.life,
        later.life,
    }


def test_events_are_chosen_by_group_and_time_across_chunks(archive: LogArchive) -> None:
    archive.keep(BLANK.model_copy(update={"group": "/mutx/acme/a/b"}), lambda: iter([an_event(12)]))
    since, until = (datetime.fromtimestamp(EVENTS[n].timestamp / 1000, UTC) for n in (12, 21))

    chosen = [(r.folder.group, r.event) for r in archive.events("acme", ["hosts"], since, until)]
    everything = [r.event.timestamp for r in archive.events("acme", [], None, None)]

    assert chosen == [("hosts", event) for event in EVENTS[12:21]]
    assert everything == sorted(everything)
    assert {folder.group for folder in archive.folders("acme")} == {"hosts", "a+b"}


def chunk_names(store: MemoryObjects) -> list[str]:
    return sorted(name for name in store.objects if name.endswith(".gz"))


def _change_a_chunk(store: MemoryObjects) -> str:
    name = chunk_names(store)[1]
    forged = gzip.decompress(store.objects[name]).replace(b"login", b"logon")
    store.objects[name] = gzip.compress(forged, mtime=0)
    return name


def _remove_a_chunk(store: MemoryObjects) -> str:
    name = chunk_names(store)[1]
    del store.objects[name]
    return name


def _cover(store: MemoryObjects) -> str:
    store.covered.add(chunk_names(store)[0])
    return chunk_names(store)[0]


def _unlock(store: MemoryObjects) -> str:
    store.unlocked.add(chunk_names(store)[2])
    return chunk_names(store)[2]


def _untag(store: MemoryObjects) -> str:
    del store.tags[chunk_names(store)[2]]
    return chunk_names(store)[2]


def _add_a_chunk(store: MemoryObjects) -> str:
    content = gzip.compress(to_line(an_event(1, "forged")), mtime=0)
    name = f"{FOLDER}{1:013d}-{sha256(content).hexdigest()}.jsonl.gz"
    store.put_once(name, content)
    return name


def _add_what_is_no_chunk(store: MemoryObjects) -> str:
    store.put_once(f"{FOLDER}notes.txt", b"")
    return f"{FOLDER}notes.txt"


def _change_the_manifest(store: MemoryObjects) -> str:
    (name,) = [name for name in store.objects if "manifest" in name]
    store.objects[name] = store.objects[name].replace(b'"events":40', b'"events":39')
    return name


def _remove_the_manifest(store: MemoryObjects) -> str:
    (name,) = [name for name in store.objects if "manifest" in name]
    del store.objects[name]
    return FOLDER


ATTACKS: dict[str, Callable[[MemoryObjects], str]] = {
    "chunk changed": _change_a_chunk,
    "chunk removed": _remove_a_chunk,
    "chunk covered": _cover,
    "chunk unlocked": _unlock,
    "chunk untagged": _untag,
    "chunk added": _add_a_chunk,
    "foreign object": _add_what_is_no_chunk,
    "manifest changed": _change_the_manifest,
    "manifest removed": _remove_the_manifest,
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_whatever_is_changed_is_named(
    archive: LogArchive, store: MemoryObjects, attack: Callable[[MemoryObjects], str]
) -> None:
    name = attack(store)

    problems = list(archive.problems("acme"))

    assert problems
    assert problems[0].startswith(f"{name}: ")


def test_an_event_of_a_chunk_that_was_changed_is_never_shown(
    archive: LogArchive, store: MemoryObjects
) -> None:
    _change_a_chunk(store)

    with pytest.raises(VerificationError) as caught:
        kept_events(archive)

    assert (caught.value.code, caught.value.exit_status) == ("archive-broken", 6)


def test_a_chunk_that_is_named_by_its_hash_and_holds_no_events_is_named(
    archive: LogArchive, store: MemoryObjects
) -> None:
    content = b"no gzip at all"
    store.put_once(f"{FOLDER}{5:013d}-{sha256(content).hexdigest()}.jsonl.gz", content)

    with pytest.raises(VerificationError, match="is no chunk of events"):
        kept_events(archive)


@pytest.mark.parametrize(("days", "is_refused"), [(0, True), (364, True), (365, False), (None, False)])
def test_a_lock_that_is_too_short_is_refused(days: int | None, is_refused: bool) -> None:
    archive = an_archive(MemoryObjects(days=days))
    if not is_refused:
        assert archive.require_retention(365) == days
        return

    with pytest.raises(RefusedError) as caught:
        archive.require_retention(365)

    assert caught.value.code == "archive-retention"
    assert "365 days or more" in caught.value.remedy


def test_files_keep_what_a_bucket_keeps_without_a_lock(tmp_path: Path) -> None:
    archive = an_archive(FileObjects(f"file://{tmp_path}/archive", "archive"))

    archive.keep(BLANK, lambda: iter(EVENTS))

    assert Counter(kept_events(archive)) == Counter(EVENTS)
    assert list(archive.problems("acme")) == []
    assert archive.tombstones("acme") == ()


def test_a_life_is_named_by_when_it_began() -> None:
    assert life_of(datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)) == "20260102T030405Z"


def test_a_large_group_is_kept_in_bounded_memory() -> None:
    store, number = MemoryObjects(days=365), 6_000

    def read() -> Iterator[LogEvent]:
        return (an_event(n, "x" * 2_000) for n in range(number))

    tracemalloc.start()
    manifest = an_archive(store, chunk_bytes=128 * 1024).keep(BLANK, read)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert manifest.events == number
    assert peak - sum(map(len, store.objects.values())) < 3_000_000
    """The events' messages alone are 12 MB."""


event_lists = st.lists(
    st.builds(LogEvent, st.integers(0, 5), st.integers(0, 1), st.sampled_from("ab"), st.text(max_size=2)),
    max_size=30,
)


def by_time(events: list[LogEvent]) -> Iterator[LogEvent]:
    return iter(sorted(events, key=lambda event: event.timestamp))


@given(event_lists, event_lists)
def test_a_difference_is_that_of_the_multisets(events: list[LogEvent], others: list[LogEvent]) -> None:
    rest = by_time(others)

    found = list(difference(by_time(events), rest))

    assert Counter(found) == Counter(events) - Counter(others)
    assert next(rest, None) is None


@given(st.lists(event_lists, max_size=5))
def test_merged_events_are_all_there_and_in_order(lists: list[list[LogEvent]]) -> None:
    filled = [list(by_time(events)) for events in lists if events]

    found = list(merged([(f[0].timestamp, lambda f=f: iter(f)) for f in filled], lambda e: e.timestamp))  # type: ignore[misc]

    assert Counter(found) == Counter(event for events in filled for event in events)
    assert [event.timestamp for event in found] == sorted(event.timestamp for event in found)


def test_a_sequence_is_begun_only_once_its_time_has_come() -> None:
    begun: list[int] = []

    def begin(time: int) -> Iterator[LogEvent]:
        begun.append(time)
        return iter([LogEvent(time, 0, "a", "")])

    events = merged([(t, lambda t=t: begin(t)) for t in (1, 2, 3)], lambda e: e.timestamp)  # type: ignore[misc]
    next(events)

    assert begun == [1]


@given(st.text(alphabet=st.characters(), max_size=20))
def test_a_line_loses_nothing_of_a_message(message: str) -> None:
    event = LogEvent(1, 2, "a/b", message)
    line = to_line(event)

    assert from_line(line) == event
    assert line.count(b"\n") == 1
