"""A killed engine's state, put right: what was made is adopted, what was not is forgotten, nothing is made twice."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from mutx_infra.adapters.pulumi_recovery import SETTLE_S, StateLock, has_pending, parse_lock, recover
from tests.support.specs import an_owner

URN = "urn:pulumi:acme::mutx-tenant::aws:ec2/{0}:{0}::acme-{1}"


def resource(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"urn": URN.format(kind, name), "type": f"aws:ec2/{kind}:{kind}", "inputs": {"name": name}, **more}


def state(*pending: tuple[str, dict[str, Any]], resources: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    operations = [{"type": kind, "resource": found} for kind, found in pending]
    return {"resources": list(resources), "pending_operations": operations}


class Cloud:
    """A look-up that finds `there`, from the n-th look on."""

    def __init__(self, there: Mapping[str, str], from_look: int = 1) -> None:
        self.there, self.from_look = there, from_look
        self.looks = 0
        self.completed: list[str] = []
        self.slept: list[float] = []
        self.asked: list[str | None] = []

    def everywhere(self, account: str | None) -> Cloud:
        self.asked.append(account)
        return self

    def find(self, kind: str, inputs: Mapping[str, Any], *, besides: Collection[str]) -> str | None:
        self.looks += 1
        found = self.there.get(inputs["name"])
        return found if self.looks >= self.from_look and found not in besides else None

    def complete(self, kind: str, identity: str) -> None:
        self.completed.append(identity)


def test_a_create_that_took_effect_is_adopted() -> None:
    before = state(("creating", resource("vpc", "vpc")))
    cloud = Cloud({"vpc": "vpc-1"})

    done = recover(before, cloud.everywhere, cloud.slept.append)

    (adopted,) = done.deployment["resources"]
    assert (adopted["id"], adopted["outputs"]) == ("vpc-1", {"name": "vpc", "id": "vpc-1"})
    assert not has_pending(done.deployment)
    assert (done.adopted, done.dropped, cloud.slept) == (("acme-vpc",), (), [])
    assert cloud.completed == ["vpc-1"]


def test_a_create_without_effect_is_dropped_after_a_second_look() -> None:
    cloud = Cloud({})

    done = recover(state(("creating", resource("vpc", "vpc"))), cloud.everywhere, cloud.slept.append)

    assert (done.deployment["resources"], done.dropped) == ([], ("acme-vpc",))
    assert (cloud.looks, cloud.slept) == (2, [SETTLE_S])


def test_a_create_still_in_flight_is_found_by_the_second_look() -> None:
    cloud = Cloud({"vpc": "vpc-1"}, from_look=2)

    done = recover(state(("creating", resource("vpc", "vpc"))), cloud.everywhere, cloud.slept.append)

    assert done.adopted == ("acme-vpc",)


PROVIDER = "urn:pulumi:platform::mutx-platform::pulumi:providers:aws::{0}"


def a_provider(name: str, accounts: str | None) -> dict[str, Any]:
    inputs = {"region": "eu-west-1", **({"allowedAccountIds": accounts} if accounts else {})}
    return {"urn": PROVIDER.format(name), "type": "pulumi:providers:aws", "id": "7f", "inputs": inputs}


@pytest.mark.parametrize(
    ("provider", "account"),
    [
        (f"{PROVIDER.format('platform-archive-account')}::7f", "310987654321"),
        (f"{PROVIDER.format('default_7_51_0')}::7f", None),
        ("", None),
    ],
    ids=["explicit", "default", "none"],
)
def test_a_resource_is_looked_for_in_the_account_of_its_provider(provider: str, account: str | None) -> None:
    providers = (
        a_provider("platform-archive-account", '["310987654321"]'),
        a_provider("default_7_51_0", '["123456789012"]'),
    )
    cloud = Cloud({"vpc": "vpc-1"})

    recover(
        state(("creating", resource("vpc", "vpc", provider=provider)), resources=providers),
        cloud.everywhere,
        cloud.slept.append,
    )

    assert set(cloud.asked) == {account}


def test_a_provider_whose_creation_died_is_looked_for_nowhere() -> None:
    cloud = Cloud({})

    done = recover(state(("creating", a_provider("x", None))), cloud.everywhere, cloud.slept.append)

    assert (done.deployment["resources"], cloud.asked, cloud.slept) == ([], [], [])
    assert done.summary() == "an earlier run died halfway: it had made nothing yet"


def test_many_creates_wait_once() -> None:
    cloud = Cloud({})
    pending = [("creating", resource("subnet", f"s{number}")) for number in range(20)]

    recover(state(*pending), cloud.everywhere, cloud.slept.append)

    assert cloud.slept == [SETTLE_S]


def test_a_resource_that_is_being_replaced_is_not_taken_for_its_successor() -> None:
    old = resource("subnet", "app", id="subnet-old")
    cloud = Cloud({"app": "subnet-old"})

    done = recover(
        state(("creating", resource("subnet", "app")), resources=(old,)), cloud.everywhere, cloud.slept.append
    )

    assert (done.dropped, [r["id"] for r in done.deployment["resources"]]) == (("acme-app",), ["subnet-old"])


def test_an_adopted_successor_marks_its_predecessor_for_deletion() -> None:
    old = resource("subnet", "app", id="subnet-old")
    cloud = Cloud({"app": "subnet-new"})

    done = recover(
        state(("creating", resource("subnet", "app")), resources=(old,)), cloud.everywhere, cloud.slept.append
    )

    assert [(r["id"], r.get("delete")) for r in done.deployment["resources"]] == [
        ("subnet-old", True),
        ("subnet-new", None),
    ]


@pytest.mark.parametrize("kind", ["updating", "deleting", "reading"])
def test_other_operations_are_left_to_the_refresh(kind: str) -> None:
    old = resource("vpc", "vpc", id="vpc-1")
    cloud = Cloud({})

    done = recover(state((kind, old), resources=(old,)), cloud.everywhere, cloud.slept.append)

    assert (done.deployment["resources"], cloud.looks) == ([old], 0)
    assert not has_pending(done.deployment)


def test_the_given_state_is_not_changed() -> None:
    before = state(("creating", resource("vpc", "vpc")))
    kept = copy.deepcopy(before)

    recover(before, Cloud({"vpc": "vpc-1"}).everywhere, lambda _: None)

    assert before == kept


def test_the_summary_names_both() -> None:
    cloud = Cloud({"vpc": "vpc-1"})
    pending = [("creating", resource("vpc", "vpc")), ("creating", resource("subnet", "app"))]

    summary = recover(state(*pending), cloud.everywhere, cloud.slept.append).summary()

    assert summary == "an earlier run died halfway: adopted acme-vpc; found nothing of acme-app"


LOCKED = """error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end.
  file:///state/.pulumi/locks/organization/mutx-tenant/acme/1.json: created by ada@here (pid 4242) at 2026-01-02"""


def test_a_locks_holder_is_read_from_the_refusal() -> None:
    assert parse_lock(LOCKED) == StateLock("ada", "here", 4242)
    assert parse_lock("created by ada@here (pid 4242)") is None
    assert parse_lock("error: no stack named 'acme' found") is None


@pytest.mark.parametrize(
    ("host", "is_running", "is_dead"),
    [("here", False, True), ("here", True, False), ("elsewhere", False, False)],
    ids=["dead", "alive", "other-host"],
)
def test_only_a_dead_process_of_this_machine_is_judged_dead(
    host: str, is_running: bool, is_dead: bool
) -> None:
    lock = StateLock("ada", host, 4242)

    assert lock.is_held_by_dead(an_owner(host="here"), lambda _pid: is_running) is is_dead
