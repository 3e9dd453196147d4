"""What is asked, what comes back, and what is counted."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import suppress

import httpx2
import pytest
from mutx_guardrail_client import (
    AsyncGuardClient,
    GuardClient,
    GuardUnavailable,
    Item,
    Judged,
    Refused,
    Settings,
)
from wire import REFUSAL, SETTINGS, Guards, allowing, echo, raw


def outcomes(guards):
    return [question["ok"] for path, question in guards.asked if path == "/v1/agents/a/outcome"]


def test_an_allowed_text_comes_back_as_the_guard_made_it():
    judged = Guards().sync().input("write to jane@example.com")

    assert (judged.text, judged.allowed, judged.reason, judged.action) == (
        "write to [REDACTED]",
        True,
        "",
        "mask",
    )
    assert [(check.name, check.passed) for check in judged.checks] == [
        ("prompt_injection", True),
        ("pii_detection", False),
    ]


def test_what_the_guard_says_beside_it_is_kept():
    more = {"degraded": ["judge"], "review": "r-1", "policy": "built-in@9ad"}
    guard = Guards(lambda *_: allowing("x", **more)).sync()

    judged = guard.output("x")

    assert (judged.degraded, judged.review, judged.policy) == (("judge",), "r-1", "built-in@9ad")


def test_what_the_user_asked_for_goes_with_a_foreign_text():
    guards = Guards()
    guard = guards.sync()

    guard.input("a page", "retrieved", task="pay the bill")
    guard.batch([Item("a result", origin="tool", task="pay the bill"), Item("a result", origin="tool")])

    (_, single), (_, batch) = guards.asked
    assert single["task"] == "pay the bill"
    assert [each.get("task") for each in batch["items"]] == ["pay the bill", None]
    assert "pay" not in repr(Item("x", task="pay the bill"))


def test_a_foreign_text_comes_back_marked():
    guards = Guards()

    judged = guards.sync().input("a page", "retrieved")

    assert judged.spotlight is not None
    assert judged.spotlight.text == "aˆpage"
    assert guards.asked == [("/v1/guard/input", {"text": "a page", "agent": "a", "origin": "retrieved"})]


def test_the_guard_hears_the_last_eight_of_the_turns_before():
    guards, turns = Guards(), [f"turn {number}" for number in range(10)]

    guards.sync().input("now", earlier=turns)

    ((_, question),) = guards.asked
    assert question == {"text": "now", "agent": "a", "origin": "user", "earlier": turns[2:]}


def test_a_refusal_says_why():
    with pytest.raises(Refused) as caught:
        Guards().sync().input("evil")

    error = caught.value
    assert (error.reason, error.action, error.confidence) == ("prompt_injection_detected", "block", 0.9)
    assert error.details == "found by patterns: x"
    assert not error.rate_limited
    assert not error.paused


@pytest.mark.parametrize("action", ["rate_limit", "pause"])
def test_a_rate_and_a_pause_are_told_apart(action):
    answer = {**REFUSAL, "action": action, "reason": "agent_paused", "retry_after_s": 12.5}

    with pytest.raises(Refused) as caught:
        Guards(lambda *_: answer).sync().input("x")

    assert (caught.value.rate_limited, caught.value.paused) == (action == "rate_limit", action == "pause")
    assert caught.value.retry_after_s == 12.5


def test_a_batch_keeps_its_order_and_refuses_one_by_one():
    found = Guards().sync().batch([Item("a"), Item("evil", "output"), Item("c d", origin="tool")])

    assert [each.text if isinstance(each, Judged) else each.reason for each in found] == [
        "a",
        "prompt_injection_detected",
        "c d",
    ]


def test_a_batch_of_nothing_asks_nothing():
    guards = Guards()

    assert guards.sync().batch([]) == []
    assert guards.asked == []


def test_half_a_surrogate_pair_is_asked_as_it_is():
    guards = Guards()

    assert guards.sync().output("\ud83d é").text == "\ud83d é"
    assert guards.asked[0][1]["text"] == "\ud83d é"


def test_a_block_that_ends_well_is_told():
    guards = Guards()

    with guards.sync().input("x") as safe:
        assert safe.text == "x"

    assert outcomes(guards) == [True]


def test_a_block_that_fails_is_told_and_the_failure_goes_on():
    guards = Guards()

    with pytest.raises(KeyError), guards.sync().input("x"):
        raise KeyError("agent")

    assert outcomes(guards) == [False]


def test_a_run_whose_output_is_refused_is_told_as_failed():
    guards = Guards()
    guard = guards.sync()

    with pytest.raises(Refused), guard.input("x"):
        guard.output("evil")

    assert outcomes(guards) == [False]


def test_a_caller_that_hangs_up_is_no_failure():
    guards = Guards()

    with pytest.raises(KeyboardInterrupt), guards.sync().input("x"):
        raise KeyboardInterrupt

    assert outcomes(guards) == []


def test_an_output_judged_inside_is_not_counted_twice():
    guards = Guards()
    guard = guards.sync()

    with guard.input("x"):
        guard.output("y")
    with guard.input("x"):
        pass

    assert outcomes(guards) == [True]


def test_the_same_holds_for_blocks_within_blocks():
    guards = Guards()
    guard = guards.sync()

    with guard.input("x") as outer, guard.input("y"):
        guard.output("z")

    assert outer.text == "x"
    assert outcomes(guards) == [True]


def test_an_outcome_that_cannot_be_told_hides_no_failure(caplog):
    def gone(path, question):
        return raw(b"", 503) if path.endswith("/outcome") else echo(path, question)

    with pytest.raises(KeyError), Guards(gone).sync().input("x"):
        raise KeyError("agent")

    assert "an outcome was not told" in caplog.text


def test_without_a_name_nothing_is_counted():
    guards = Guards(settings=Settings("http://127.0.0.1:1"))

    with guards.sync().input("x"):
        pass

    assert guards.paths() == ["/v1/guard/input"]
    with pytest.raises(ValueError, match="MUTX_GUARD_AGENT"):
        guards.sync().outcome(ok=True)


def test_the_asynchronous_client_does_the_same():
    guards = Guards()

    async def use():
        async with guards.aio() as guard:
            judged = await guard.input("a jane@example.com")
            async with guard.input("x") as safe:
                assert safe.text == "x"
            with suppress(KeyError):
                async with guard.input("x"):
                    raise KeyError
            async with guard.input("x"):
                await guard.output("y")
            return judged.text

    assert asyncio.run(use()) == "a [REDACTED]"
    assert outcomes(guards) == [True, False]


def test_an_input_that_nobody_awaits_has_no_text():
    assert not hasattr(Guards().aio().input("x"), "text")


def failing(failures, error):
    """Return a maker of connections that fail some times before they answer."""
    tries = []

    def handle(request):
        tries.append(request)
        if len(tries) <= failures:
            raise error
        return raw(json.dumps(allowing("x")).encode())

    return tries, lambda _context: httpx2.MockTransport(handle)


@pytest.mark.parametrize(("failures", "tries"), [(0, 1), (2, 3)], ids=["at-once", "the-third-time"])
def test_a_connection_that_fails_is_tried_again(failures, tries):
    tried, make = failing(failures, httpx2.ConnectError("refused"))

    assert GuardClient(SETTINGS, make).input("x").text == "x"
    assert len(tried) == tries


def test_a_guard_that_is_not_there_is_unavailable():
    tried, make = failing(99, httpx2.ConnectError("refused"))

    with pytest.raises(GuardUnavailable) as caught:
        GuardClient(SETTINGS, make).input("x")

    assert (caught.value.cause, len(tried)) == ("connection", 3)


@pytest.mark.parametrize(
    "error", [httpx2.ReadError("x"), httpx2.WriteError("x"), httpx2.RemoteProtocolError("x"), OSError("x")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_a_question_that_may_have_been_sent_is_not_asked_again(error):
    tried, make = failing(99, error)

    with pytest.raises(GuardUnavailable) as caught:
        GuardClient(SETTINGS, make).input("x")

    assert (caught.value.cause, len(tried)) == ("connection", 1)


class _Dripping(httpx2.AsyncByteStream):
    async def __aiter__(self):
        while True:
            yield b" "
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("is_dripping", [False, True], ids=["silent", "dripping"])
def test_the_deadline_holds_for_the_whole_call(is_dripping):
    async def handle(_request):
        if not is_dripping:
            await asyncio.sleep(60)
        return httpx2.Response(200, stream=_Dripping())

    guard = GuardClient(Settings("http://127.0.0.1:1", timeout_s=0.2), lambda _: httpx2.MockTransport(handle))
    began = time.monotonic()

    with pytest.raises(GuardUnavailable) as caught:
        guard.input("x")

    assert caught.value.cause == "timeout"
    assert 0.1 < time.monotonic() - began < 1.5


def test_many_threads_share_one_client():
    guard, found = Guards().sync(), []
    threads = [
        threading.Thread(target=lambda at=at: found.append(guard.output(str(at)).text)) for at in range(20)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert sorted(found, key=int) == [str(at) for at in range(20)]


def test_a_closed_client_judges_nothing():
    guard = Guards().sync()
    guard.close()

    with pytest.raises(GuardUnavailable) as caught:
        guard.input("x")

    assert caught.value.cause == "closed"


def test_no_proxy_of_the_environment_sees_a_text(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:2")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:2")
    client = AsyncGuardClient(SETTINGS)._transport

    async def proxies():
        async with client._connected() as connected:
            return connected._mounts

    assert asyncio.run(proxies()) == {}
