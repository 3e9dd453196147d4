"""The history's chain: whole when left alone, and every way of changing it shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mutx_infra.adapters.object_files import FileObjects
from mutx_infra.changes import ChangeSet, Operation, ResourceChange
from mutx_infra.errors import OutsideError, RefusedError, VerificationError
from mutx_infra.history import RETENTION_DAYS, Draft, History, Outcome, difference
from mutx_infra.ports import ObjectStore
from mutx_infra.records import ChainHead
from tests.support.registry import HandClock, MemoryRegistry
from tests.support.specs import a_plan, a_spec, an_allocation
from tests.support.world import MemoryObjects

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CHANGED = ChangeSet(
    changes=(
        ResourceChange(operation=Operation.UPDATE, kind="aws:ec2/vpc:Vpc", name="acme-vpc", fields=("tags",)),
    )
)


def a_draft(**fields: object) -> Draft:
    spec = a_spec(name="Zürich")
    return Draft.model_validate(
        {
            "tenant": "acme",
            "kind": "create",
            "by": "ada@here (pid 1)",
            "started_at": NOW,
            "ended_at": NOW,
            "outcome": Outcome.DONE,
            "spec": spec.model_dump(mode="json", exclude_none=True),
            "allocation": an_allocation(spec).model_dump(mode="json"),
            "plan_digest": a_plan().digest,
            "changes": CHANGED,
            **fields,
        }
    )


class Kept:
    """A history of three entries, its store and its heads."""

    def __init__(self, store: MemoryObjects) -> None:
        self.objects = store.objects
        self.heads = MemoryRegistry(HandClock())
        self.history = History(store, self.heads)
        for number in range(3):
            self.history.append(
                a_draft(),
                a_plan(tags={"n": str(number)}).model_dump(mode="json"),
                f'{{"n": {number}}}'.encode(),
            )

    def names(self, part: str) -> list[str]:
        return sorted(name for name in self.objects if f"/{part}/" in name)


@pytest.fixture
def kept() -> Kept:
    return Kept(MemoryObjects())


def test_a_history_that_nobody_touched_is_whole(kept: Kept) -> None:
    entries = kept.history.entries("acme")

    assert kept.history.problems("acme") == ()
    assert [entry.sequence for entry in entries] == [1, 2, 3]
    assert [entry.previous for entry in entries[1:]] == [entry.hash for entry in entries[:2]]
    assert kept.history.plan(entries[2])["tags"] == {"n": "2"}
    assert kept.history.state(entries[1]) == b'{"n": 1}'


def test_tenants_have_chains_of_their_own(kept: Kept) -> None:
    first = kept.history.append(a_draft(tenant="globex"), a_plan("globex").model_dump(mode="json"), None)

    assert (first.sequence, first.state) == (1, "")
    assert kept.history.problems("globex") == ()


def _change_a_field(kept: Kept) -> None:
    name = kept.names("entries")[1]
    entry = json.loads(kept.objects[name])
    kept.objects[name] = json.dumps({**entry, "by": "nobody@nowhere (pid 1)"}).encode()


def _add_a_field(kept: Kept) -> None:
    name = kept.names("entries")[1]
    kept.objects[name] = json.dumps({**json.loads(kept.objects[name]), "note": "harmless"}).encode()


def _change_it_with_its_hash(kept: Kept) -> None:
    from mutx_infra.history import _hash  # noqa: PLC0415 - the forger knows the program

    name = kept.names("entries")[1]
    body = {**json.loads(kept.objects[name]), "by": "nobody@nowhere (pid 1)"}
    del body["hash"]
    kept.objects[name] = json.dumps({**body, "hash": _hash(body)}).encode()


def _rewrite_all_of_it(kept: Kept) -> None:
    forged = Kept(MemoryObjects())
    forger = History(MemoryObjects(forged.objects), MemoryRegistry(HandClock()))
    forged.objects.clear()
    for _ in range(3):
        forger.append(a_draft(by="nobody@nowhere (pid 1)"), a_plan().model_dump(mode="json"), None)
    kept.objects.clear()
    kept.objects.update(forged.objects)


def _append_two(kept: Kept) -> None:
    heads = MemoryRegistry(HandClock())
    head = kept.heads.chain_head("acme")
    assert head is not None
    heads._heads["acme"] = head
    for _ in range(2):
        History(MemoryObjects(kept.objects), heads).append(a_draft(), a_plan().model_dump(mode="json"), None)


ATTACKS: dict[str, tuple[Callable[[Kept], object], str]] = {
    "a field changed": (_change_a_field, "entry 2 was changed"),
    "a field added": (_add_a_field, "entry 2 was changed"),
    "changed with its hash": (_change_it_with_its_hash, "entry 3 does not follow"),
    "the first removed": (lambda kept: kept.objects.pop(kept.names("entries")[0]), "entry 1 is missing"),
    "one in the middle removed": (
        lambda kept: kept.objects.pop(kept.names("entries")[1]),
        "entry 2 is missing",
    ),
    "the last removed": (
        lambda kept: kept.objects.pop(kept.names("entries")[2]),
        "entries 3 to 3 are missing",
    ),
    "all removed": (lambda kept: kept.objects.clear(), "entries 1 to 3 are missing"),
    "all rewritten": (_rewrite_all_of_it, "entry 3 is not the one that the registry knows"),
    "entries appended": (_append_two, "entries after 3 are unknown"),
    "made unreadable": (lambda kept: kept.objects.update({kept.names("entries")[0]: b"{"}), "is no entry"),
    "a plan changed": (
        lambda kept: kept.objects.update({kept.history.last("acme").plan: b"{}"}),  # type: ignore[union-attr]
        "the plan of entry 3 was changed",
    ),
    "a plan removed": (
        lambda kept: kept.objects.pop(kept.history.last("acme").plan),  # type: ignore[union-attr]
        "the plan of entry 3 is missing",
    ),
    "a state changed": (
        lambda kept: kept.objects.update({kept.history.last("acme").state: b"x"}),  # type: ignore[union-attr]
        "the state of entry 3 was changed",
    ),
}


@pytest.mark.parametrize(("attack", "words"), ATTACKS.values(), ids=ATTACKS)
def test_every_change_of_the_history_shows(kept: Kept, attack: Callable[[Kept], object], words: str) -> None:
    attack(kept)

    problems = kept.history.problems("acme")

    assert any(words in problem for problem in problems), problems
    with pytest.raises(VerificationError) as caught:
        kept.history.entries("acme")
    assert caught.value.code == "history-broken"


def test_nothing_is_appended_to_a_chain_that_somebody_continued(kept: Kept) -> None:
    head = kept.heads.chain_head("acme")
    assert head is not None
    kept.objects[f"acme/entries/{head.sequence + 1:08d}.json"] = kept.objects[kept.names("entries")[0]]

    with pytest.raises(VerificationError) as caught:
        kept.history.append(a_draft(), a_plan().model_dump(mode="json"), None)

    assert caught.value.code == "history-broken"


def test_an_entry_whose_writer_died_before_the_registry_knew_it_is_kept(kept: Kept) -> None:
    """Killed between the two stores: the entry is there, the registry is one behind."""
    before = kept.heads.chain_head("acme")
    kept.history.append(a_draft(kind="rollback"), a_plan().model_dump(mode="json"), None)
    assert before is not None
    kept.heads._heads["acme"] = before
    assert kept.history.problems("acme") == ()

    after = kept.history.append(a_draft(), a_plan().model_dump(mode="json"), None)

    assert (after.sequence, kept.history.problems("acme")) == (5, ())
    assert [entry.kind for entry in kept.history.entries("acme")][3:] == ["rollback", "create"]


def test_two_writers_do_not_fork_the_chain(kept: Kept) -> None:
    class Slow(MemoryRegistry):
        def advance_chain(self, before: ChainHead, after: ChainHead) -> bool:
            return False

    late = Slow(HandClock())
    late._heads = kept.heads._heads
    with pytest.raises(OutsideError) as caught:
        History(MemoryObjects(kept.objects), late).append(a_draft(), a_plan().model_dump(mode="json"), None)

    assert caught.value.code == "history-conflict"


@pytest.mark.parametrize("days", [0, 30, RETENTION_DAYS - 1])
def test_a_store_that_keeps_for_less_than_seven_years_is_refused(days: int) -> None:
    with pytest.raises(RefusedError) as caught:
        History(MemoryObjects(days=days), MemoryRegistry(HandClock())).require_retention()

    assert caught.value.code == "history-retention"


def test_an_entry_that_does_not_exist_is_named(kept: Kept) -> None:
    with pytest.raises(RefusedError, match="has no history entry 9"):
        kept.history.entry("acme", 9)


def test_a_spec_that_today_s_program_does_not_take_is_refused_by_name(kept: Kept) -> None:
    kept.history.append(
        a_draft(spec={"id": "acme", "region": "eu-west-1", "colour": "red"}),
        a_plan().model_dump(mode="json"),
        None,
    )

    with pytest.raises(RefusedError, match="colour"):
        kept.history.spec("acme", 4)
    assert kept.history.spec("acme", 1) == a_spec(name="Zürich")


def test_plans_differ_by_key_and_not_by_place() -> None:
    one = a_plan().model_dump(mode="json")
    other = a_plan(tags={"team": "a"}).model_dump(mode="json")
    other["hosts"] = [*reversed(other["hosts"])]
    other["hosts"][0]["instance_type"] = "t3.large"

    found = list(difference(one, other))

    assert found == [("hosts.vault-1.instance_type", "t3.small", "t3.large"), ("tags.team", "", "a")]


def test_files_are_written_once_and_by_their_owner_alone(tmp_path: Path) -> None:
    store: ObjectStore = FileObjects((tmp_path / "a b").as_uri())

    first, second = (
        store.put_once("acme/entries/1.json", b"one"),
        store.put_once("acme/entries/1.json", b"two"),
    )

    assert (first, second, store.get("acme/entries/1.json")) == (True, False, b"one")
    assert store.names("acme/entries/") == ("acme/entries/1.json",)
    assert store.names("globex/entries/") == ()
    assert store.get("acme/entries/2.json") is None
    assert store.retention_days() is None
    assert (tmp_path / "a b/acme/entries/1.json").stat().st_mode & 0o777 == 0o400


def test_a_directory_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(OutsideError) as caught:
        FileObjects((tmp_path / "file").as_uri()).put_once("acme/entries/1.json", b"one")

    assert caught.value.code == "history-unavailable"
