"""Passwords and set-up links: the same work and the same answer for everybody who is wrong."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from identity_fakes import ANN, BOB, Clock, MemoryAccounts, MemoryLinks
from mutx_control_plane.identity.password_rules import check_new_password
from mutx_control_plane.identity.passwords import Cost, Hasher, PasswordDesk, fold_email
from mutx_service.problem import Problem

CHEAP = Cost(memory_kib=64, passes=1, lanes=1)
PASSWORD = "a pony in the cellar"


class CountingHasher(Hasher):
    """Counts what is verified, and against what."""

    def __init__(self, cost: Cost = CHEAP) -> None:
        super().__init__(cost)
        self.verified: list[str] = []

    async def verify(self, encoded: str, password: str) -> bool:
        self.verified.append(encoded)
        return await super().verify(encoded, password)


class World:
    """Ann has a password; Bob has none."""

    def __init__(self, cost: Cost = CHEAP) -> None:
        self.clock, self.accounts = Clock(), MemoryAccounts()
        self.links, self.hasher = MemoryLinks(self.accounts), CountingHasher(cost)
        self.desk = PasswordDesk(self.accounts, self.links, self.hasher, self.clock.sources())
        self.accounts.put(replace(ANN, password_hash=self.hasher._argon2.hash(PASSWORD)))
        self.accounts.put(BOB)

    def sign_in(self, email: str, password: str):
        return asyncio.run(self.desk.sign_in(email, password))

    def refusal(self, email: str, password: str) -> Problem:
        with pytest.raises(Problem) as refused:
            self.sign_in(email, password)
        return refused.value

    def make_link(self, account=BOB) -> str:
        return asyncio.run(self.desk.make_link(account.id))

    def set_up(self, secret: str, password: str = PASSWORD):
        return asyncio.run(self.desk.set_up(secret, password))


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("email", ["ann@acme.example", "Ann@ACME.example", " ann@acme.example "])
def test_a_person_signs_in_with_the_right_password(world, email):
    assert world.sign_in(email, PASSWORD).id == ANN.id


def test_a_password_is_one_however_a_keyboard_writes_its_letters(world):
    world.set_up(world.make_link(), "Ünter den Linden ﬁn")

    assert world.sign_in(BOB.email, "U\u0308nter den Linden fin").id == BOB.id


WRONG = {
    "another password": ("ann@acme.example", PASSWORD + "!"),
    "the password in capitals": ("ann@acme.example", PASSWORD.upper()),
    "the password and a space": ("ann@acme.example", PASSWORD + " "),
    "nobody": ("nobody@acme.example", PASSWORD),
    "an account without a password": ("bob@globex.example", PASSWORD),
}


@pytest.mark.parametrize(("email", "password"), WRONG.values(), ids=WRONG.keys())
def test_each_failure_takes_one_verification_and_tells_nothing(world, email, password):
    refused = world.refusal(email, password)

    assert (refused.code, refused.detail, refused.errors) == ("sign-in-failed", "", ())
    assert len(world.hasher.verified) == 1


def test_an_inactive_account_fails_as_nobody_does(world):
    world.accounts.put(replace(world.accounts.by_id[ANN.id], is_active=False))

    assert world.refusal(ANN.email, PASSWORD).code == "sign-in-failed"
    assert world.hasher.verified == [""]


@pytest.mark.parametrize(
    "password",
    ["", "x" * 257, "x" * 10_000_000, "half \ud800 a character"],
    ids=["empty", "long", "endless", "half"],
)
def test_a_password_of_no_possible_length_costs_no_work(world, password):
    assert world.refusal(ANN.email, password).code == "sign-in-failed"
    assert not world.hasher.verified


def test_a_stored_hash_is_no_password(world):
    assert world.refusal(ANN.email, world.accounts.by_id[ANN.id].password_hash).code == "sign-in-failed"


@pytest.mark.parametrize("broken", ["x", "$argon2id$v=19$m=64,t=1,p=1$", "$2b$12$abcdefghijklmnopqrstuv"])
def test_a_stored_hash_that_is_none_lets_nobody_in(world, broken):
    world.accounts.put(replace(ANN, password_hash=broken))

    assert world.refusal(ANN.email, broken).code == "sign-in-failed"


def test_the_password_of_nobody_lets_nobody_in(world):
    assert world.refusal("nobody@acme.example", "nobody's password").code == "sign-in-failed"


def test_a_hash_of_another_cost_is_renewed_at_sign_in_and_once():
    world = World(Cost(memory_kib=128, passes=1, lanes=1))
    old = Hasher(CHEAP)._argon2.hash(PASSWORD)
    world.accounts.put(replace(ANN, password_hash=old))

    world.sign_in(ANN.email, PASSWORD)
    renewed = world.accounts.by_id[ANN.id].password_hash
    world.sign_in(ANN.email, PASSWORD)

    assert "m=128" in renewed
    assert world.accounts.by_id[ANN.id].password_hash == renewed


def test_a_wrong_password_renews_nothing():
    world = World(Cost(memory_kib=128, passes=1, lanes=1))
    old = Hasher(CHEAP)._argon2.hash(PASSWORD)
    world.accounts.put(replace(ANN, password_hash=old))

    world.refusal(ANN.email, "another password")

    assert world.accounts.by_id[ANN.id].password_hash == old


def test_the_hash_is_argon2id_at_rfc_9106s_second_cost():
    encoded = asyncio.run(Hasher().hash(PASSWORD))

    assert encoded.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_what_would_wait_too_long_is_refused_and_the_rest_is_served():
    hasher = Hasher(Cost(memory_kib=8_192, passes=1, lanes=1, threads=1, waiting=2))

    async def scenario():
        return await asyncio.gather(*(hasher.hash(PASSWORD) for _ in range(8)), return_exceptions=True)

    found = asyncio.run(scenario())

    refused = [each for each in found if isinstance(each, Problem)]
    assert len(refused) == 5
    assert {each.code for each in refused} == {"rate-limited"}
    assert asyncio.run(hasher.hash(PASSWORD))


def test_hashing_stops_nobody_else():
    hasher = Hasher(Cost(memory_kib=65_536, passes=3, lanes=1, threads=1))

    async def scenario():
        work, turns = asyncio.create_task(hasher.hash(PASSWORD)), 0
        while not work.done():
            await asyncio.sleep(0.001)
            turns += 1
        return turns

    assert asyncio.run(scenario()) > 3


def test_a_link_sets_a_password_once(world):
    secret = world.make_link()

    assert world.set_up(secret).id == BOB.id
    assert world.sign_in(BOB.email, PASSWORD).id == BOB.id

    with pytest.raises(Problem, match="sign-in-failed"):
        world.set_up(secret, "another pony in the cellar")


def test_of_two_who_use_a_link_at_once_one_sets_the_password(world):
    secret = world.make_link()

    async def scenario():
        words = ("a pony in the cellar", "a mule in the attic 9")
        return await asyncio.gather(
            *(world.desk.set_up(secret, each) for each in words), return_exceptions=True
        )

    found = asyncio.run(scenario())

    assert sorted(isinstance(each, Problem) for each in found) == [False, True]


def test_a_link_is_over_after_a_day(world):
    secret = world.make_link()
    world.clock.time += 86_400

    with pytest.raises(Problem, match="sign-in-failed"):
        world.set_up(secret)


def test_a_new_link_voids_the_earlier_one(world):
    first, second = world.make_link(), world.make_link()

    with pytest.raises(Problem, match="sign-in-failed"):
        world.set_up(first)

    assert world.set_up(second).id == BOB.id


def test_a_password_that_is_refused_does_not_use_the_link(world):
    secret = world.make_link()

    with pytest.raises(Problem, match="request-invalid"):
        world.set_up(secret, "short")

    assert world.set_up(secret).id == BOB.id


@pytest.mark.parametrize(
    "secret", ["", "x", "A" * 43, "A" * 42 + "\n", "../../x", "A" * 10_000], ids=lambda s: s[:8]
)
def test_any_other_link_is_none(world, secret):
    world.make_link()

    with pytest.raises(Problem, match="sign-in-failed"):
        world.set_up(secret)


def test_the_stored_hash_of_a_link_is_no_link(world):
    world.make_link()
    stored = world.links.by_account[BOB.id].secret_hash.hex()

    with pytest.raises(Problem, match="sign-in-failed"):
        world.set_up(stored)


def test_a_password_is_changed_by_who_knows_it(world):
    ann = world.accounts.by_id[ANN.id]

    asyncio.run(world.desk.change(ann, PASSWORD, "a mule in the attic 9"))

    assert world.sign_in(ANN.email, "a mule in the attic 9").id == ANN.id
    assert world.refusal(ANN.email, PASSWORD).code == "sign-in-failed"


def test_a_password_is_not_changed_by_who_does_not_know_it(world):
    with pytest.raises(Problem, match="sign-in-failed"):
        asyncio.run(
            world.desk.change(world.accounts.by_id[ANN.id], "a guess of mine", "a mule in the attic 9")
        )

    assert world.sign_in(ANN.email, PASSWORD).id == ANN.id


TAKEN = [
    "a pony in the cellar",
    "correct-horse-battery-stable",
    "zT9#qLw!2mVx",
    "пароль длинный 7x",
    "ann likes 4 ponies",
]


@pytest.mark.parametrize("password", TAKEN)
def test_a_password_is_taken_that_is_long_and_not_common(password):
    check_new_password(password, "ann@acme.example")


REFUSED = [
    "", "short", "elevenchars", "half \ud800 a character",
    "x" * 257, "a" * 20, "abababababab", "123456789012", "abcdefghijklmnop", "987654321098",
    "Password1234", "P@ssw0rd12345", "passwordpassword", "p4ssw0rd!!!!!", "qwertyuiop123", "Welcome2026!!",
    "administrator1", "letmein123456", "iloveyou12345", "Summer2026!!!!", "ADMIN!admin!1", "changeme12345",
    "ann.lovelace12",
]  # fmt: skip


@pytest.mark.parametrize("password", REFUSED, ids=lambda value: ascii(value[:24]))
def test_a_password_is_refused_that_is_short_regular_or_common(password):
    with pytest.raises(Problem, match="request-invalid") as refused:
        check_new_password(password, "ann.lovelace@acme.example")

    (error,) = refused.value.errors
    assert error["field"] == "password"
    assert not password or password not in error["message"]


@pytest.mark.parametrize(
    ("email", "folded"),
    [("A@B.c", "a@b.c"), ("", ""), ("a", ""), ("@b", ""), ("a@", ""), ("a@b@c", ""), ("a b@c", ""), ("a\0@b", ""),
     ("stra\u00dfe@b.c", ""), ("\u212aelvin@b.c", ""), ("\ud800@b.c", ""),
     ("a" * 250 + "@b.cd", "")],
    ids=lambda value: repr(value)[:16],
)  # fmt: skip
def test_an_address_is_folded_to_one_form_or_is_none(email, folded):
    assert fold_email(email) == folded
