"""Replicas that share a Redis by TLS, certificates and a user of few rights, as on a tenant's data host."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from authority import Authority
from mutx_guardrail.anomaly.errors import Phase
from mutx_guardrail.anomaly.redis_store import PREFIX, RedisStore, connect
from mutx_guardrail.anomaly.shared import open_store
from mutx_guardrail.anomaly.store import StoreUnavailable
from mutx_guardrail.anomaly.watch import Anomaly
from mutx_guardrail.policy import Anomaly as Limits
from mutx_service.settings import SettingsError
from shared_redis import DATABASE, PASSWORD, SharedRedis, users

MINUTE = 60_000_000
LIMITS, MINUTES = Limits(), timedelta(minutes=5)


@pytest.fixture
def shared(tmp_path):
    running = SharedRedis(tmp_path)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def watches(shared):
    """Two replicas, each with connections of its own."""
    stores = [shared.replica() for _ in range(2)]
    yield [Anomaly(store, lambda _event: None) for store in stores]
    for store in stores:
        store.close()


def works(store) -> bool:
    try:
        return store.take("rate:probe", 1_000, MINUTE) == 0
    except StoreUnavailable:
        return False
    finally:
        store.close()


def until(holds, within_s=10.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_of_two_replicas_in_turn_the_hundredth_request_passes_and_the_next_does_not(watches):
    passed = [watches[number % 2].admit("a", LIMITS).passed for number in range(103)]

    assert passed == [True] * 100 + [False] * 3


def test_of_two_replicas_at_once_a_hundred_requests_pass_in_all(watches):
    with ThreadPoolExecutor(16) as pool:
        passed = list(pool.map(lambda number: watches[number % 2].admit("a", LIMITS).passed, range(300)))

    assert passed.count(True) == 100


def test_replicas_pause_an_agent_and_probe_it_together(shared):
    shift = [0]
    stores = [
        RedisStore(connect(f"unix://{shared.folder}/redis.sock"), shift=lambda: shift[0]) for _ in range(2)
    ]
    one, other = (Anomaly(store, lambda _event: None) for store in stores)
    for number in range(20):
        (one, other)[number % 2].observe("a", 10, LIMITS, ok=False)

    paused = other.admit("a", LIMITS)
    shift[0] += 300_000_000
    probe, second = one.admit("a", LIMITS), other.admit("a", LIMITS)
    other.observe("a", 10, LIMITS, ok=True)

    assert (paused.passed, probe.passed, second.passed) == (False, True, False)
    assert one.admit("a", LIMITS).passed
    for store in stores:
        store.close()


def test_the_time_is_the_server_s_whatever_a_replica_s_clock_says(shared):
    """A replica whose own clocks are years off counts like the others: they are for its breaker and its waiting."""
    wrong = RedisStore(connect(f"unix://{shared.folder}/redis.sock"), clock=lambda: 4e9)
    right = RedisStore(connect(f"unix://{shared.folder}/redis.sock"))

    taken = [(wrong, right)[number % 2].take("rate:a", 100, MINUTE) == 0 for number in range(101)]

    assert taken == [True] * 100 + [False]
    assert right.take("rate:a", 100, MINUTE) <= MINUTE
    wrong.close()
    right.close()


def test_a_server_that_ends_in_the_middle_of_a_window_forgets_no_request_of_it(shared, watches):
    before = [watches[number % 2].admit("a", LIMITS).passed for number in range(60)]

    shared.front.stop()
    shared.server.kill()
    lost = [watch.admit("a", LIMITS) for watch in watches]
    shared.start()
    until(lambda: all(watch.admit("other", LIMITS).passed for watch in watches))
    after = [watches[number % 2].admit("a", LIMITS).passed for number in range(41)]

    assert before == [True] * 60
    assert [(check.passed, bool(check.unavailable)) for check in lost] == [(False, True)] * 2
    assert after == [True] * 40 + [False]


def test_certificates_that_are_renewed_on_both_sides_break_nothing(shared, watches):
    begun = [watch.admit("a", LIMITS).passed for watch in watches]

    shared.renew()
    held = [watch.admit("a", LIMITS).passed for watch in watches]
    shared.front.stop()
    shared.front.start()
    until(lambda: all(watch.admit("a", LIMITS).passed for watch in watches))

    assert begun == held == [True, True]


def test_a_certificate_that_ended_lets_nothing_pass_until_it_is_renewed(shared):
    shared.tenant.issue(DATABASE, valid_for=-MINUTES, into=shared.shown)
    ended = works(shared.replica())

    shared.renew()

    assert (ended, works(shared.replica())) == (False, True)


def test_who_shows_no_certificate_of_the_tenant_s_is_refused_though_it_knows_the_password(shared):
    stranger = Authority(shared.folder, "others").issue("acme-guard-1")
    with connect(f"rediss://guard:{PASSWORD}@localhost:{shared.front.port}",
                 ssl_ca_certs=str(shared.tenant.file)) as client:  # fmt: skip
        bare = RedisStore(client)

        refused = [works(bare), works(shared.replica(certificate=stranger, key=stranger))]

    assert refused == [False, False]


@pytest.mark.parametrize(
    "changed", [{"host": "127.0.0.2"}, {"ca": "others.ca.pem"}], ids=["name", "authority"]
)
def test_a_server_of_another_name_or_authority_is_told_nothing(shared, changed):
    Authority(shared.folder, "others")
    given = {name: shared.folder / value if name == "ca" else value for name, value in changed.items()}

    assert works(shared.replica(**given)) is False


def test_a_wrong_password_or_user_lets_nothing_pass_and_a_rotated_one_does_again(shared):
    shared.password_file.write_text("another-password-of-the-guards")
    wrong = works(shared.replica())

    shared.acl.write_text(users(PASSWORD, "another-password-of-the-guards"))
    with connect(f"unix://{shared.folder}/redis.sock") as admin:
        admin.acl_load()
    rotated = works(shared.replica())
    shared.password_file.unlink()

    assert (wrong, rotated, works(shared.replica())) == (False, True, False)


def test_the_guards_user_does_what_the_watch_needs_and_sees_no_other_key(shared, watches):
    watches[0].observe("a", 10, LIMITS, ok=True)
    with connect(f"unix://{shared.folder}/redis.sock") as admin:
        admin.set("app:secret", "1")
        kept = {key.decode() for key in admin.scan_iter()}
        for command in ("GET app:secret", "SET app:x 1", "KEYS *", "SCAN 0", "CONFIG GET *", "ACL LIST", "FLUSHALL",
                        "DEBUG SLEEP 0", "PUBLISH app:x 1", "SUBSCRIBE x", "CLIENT LIST"):  # fmt: skip
            assert "NOPERM" in refusal(admin, "guard", command) or "permission" in refusal(
                admin, "guard", command
            )
        assert "permission" in refusal(admin, "app", f"GET {PREFIX}errors:a")

    assert kept == {f"{PREFIX}errors:a", f"{PREFIX}length:a", "app:secret"}


def refusal(admin, user: str, command: str) -> str:
    return str(admin.execute_command("ACL", "DRYRUN", user, *command.split()))


def test_a_script_of_the_guards_user_cannot_do_more_than_it_may_itself(shared):
    with connect(f"unix://{shared.folder}/redis.sock", username="guard", password=PASSWORD) as client:
        for script in ("return redis.call('GET', 'app:secret')", "return redis.call('KEYS', '*')"):
            with pytest.raises(Exception, match=r"permission|ACL"):
                client.eval(script, 0)


def test_a_certificate_that_is_no_certificate_stops_the_start(shared):
    shared.mine.write_text("nothing")

    with pytest.raises(SettingsError, match="REDIS_CERTIFICATE"):
        open_store(shared.settings(), "REDIS_CERTIFICATE")


def test_paused_is_paused_for_a_replica_that_was_started_later(shared, watches):
    for _ in range(20):
        watches[0].observe("a", 10, LIMITS, ok=False)

    late = shared.replica()
    phase = Anomaly(late, lambda _event: None).state("a", LIMITS).phase
    late.close()

    assert phase is Phase.PAUSED
