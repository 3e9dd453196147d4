"""The judge over a scripted transport: windows, bounds, the breaker, and what is never told."""

from __future__ import annotations

import asyncio
import json
import logging

import httpx2
import pytest
from judging import GOOD, NONCE, a_body, a_document, some_settings
from mutx_guardrail.breaker import Circuit
from mutx_guardrail.judge.endpoint import Endpoint
from mutx_guardrail.judge.family import Direction
from mutx_guardrail.judge.judge import Judge
from mutx_guardrail.judge.settings import FamilyName
from mutx_guardrail.layer import LayerUnavailable
from mutx_guardrail.verdict import CheckName, Layer, Span

JSON = {"content-type": "application/json"}
CANARY = "canary-7d1f"


class Unread(httpx2.AsyncByteStream):
    """A body as it comes from the wire."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self):
        for start in range(0, len(self._content), 1 << 16):
            yield self._content[start : start + (1 << 16)]


class Server(httpx2.AsyncBaseTransport):
    """Answers by a function of the request's JSON; counts, and can be held."""

    def __init__(self, answer=lambda _asked: a_body(GOOD[FamilyName.QWEN3GUARD])) -> None:
        self.answer, self.asked, self.at_once, self.most_at_once = answer, [], 0, 0
        self.is_idle_connection = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def handle_async_request(self, request):
        asked = json.loads(await request.aread() or b"null")
        self.asked.append(asked)
        if not self.is_idle_connection:
            await request.extensions["trace"]("connection.connect_tcp.started", {})
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            await self.gate.wait()
            answer = self.answer(asked)
        finally:
            self.at_once -= 1
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, bytes):
            answer = httpx2.Response(200, headers=JSON, content=answer)
        return httpx2.Response(answer.status_code, headers=answer.headers, stream=Unread(answer.content))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def a_judge(server: Server, clock=None, **changes) -> Judge:
    settings = some_settings(**changes)
    return Judge(settings, Endpoint(settings, server), nonce=lambda: NONCE, clock=clock or Clock())


def judged(judge: Judge, text="hello", direction=Direction.INPUT):
    return asyncio.run(judge.judge(a_document(text), direction))


def refused(judge: Judge, text="hello") -> str:
    with pytest.raises(LayerUnavailable) as caught:
        judged(judge, text)
    assert caught.value.layer is Layer.JUDGE
    return caught.value.why


@pytest.mark.parametrize("family", FamilyName)
def test_each_family_judges_a_harmless_text(family):
    judge = a_judge(Server(lambda _asked: a_body(GOOD[family])), family=family)

    signals = judged(judge)

    assert set(signals) == set(judge.checks(Direction.INPUT))
    assert all(signal.score < 0.1 and not signal.findings for signal in signals.values())


def test_a_long_text_is_judged_in_windows_and_the_worst_counts():
    def answer(asked):
        is_bad = "EVIL" in asked["messages"][0]["content"]
        return a_body("Safety: Unsafe\nCategories: Jailbreak" if is_bad else GOOD[FamilyName.QWEN3GUARD])

    server = Server(answer)
    text = "a" * 270 + "EVIL" + "a" * 226

    signal = judged(a_judge(server, window_chars=100, overlap_chars=20), text)[CheckName.PROMPT_INJECTION]

    assert signal.score == pytest.approx(0.95)
    assert [finding.span for finding in signal.findings] == [Span(240, 340)]
    assert signal.findings[0].rule == "qwen3guard: Jailbreak"
    assert len(server.asked) == 6


def test_every_window_shares_its_begin_with_the_last():
    server = Server()

    judged(a_judge(server, window_chars=10, overlap_chars=4), "0123456789abcdefghij")

    assert sorted(asked["messages"][0]["content"] for asked in server.asked) == [
        "0123456789",
        "6789abcdef",
        "cdefghij",
    ]


def test_a_text_of_too_many_windows_is_not_judged_at_all():
    server = Server()

    why = refused(a_judge(server, window_chars=10, overlap_chars=0, windows=3), "x" * 31)

    assert ("4 windows" in why, server.asked) == (True, [])


def test_one_unreadable_window_leaves_the_whole_unjudged():
    def answer(asked):
        return a_body("Hm." if "b" in asked["messages"][0]["content"] else GOOD[FamilyName.QWEN3GUARD])

    assert "form" in refused(
        a_judge(Server(answer), window_chars=10, overlap_chars=0), "a" * 30 + "b" + "a" * 30
    )


def test_an_empty_text_is_judged_like_any_other():
    server = Server()

    judged(a_judge(server), "")

    assert len(server.asked) == 1


def test_requests_at_once_are_bounded_over_all_texts():
    server = Server()
    judge = a_judge(server, concurrency=3, window_chars=10, overlap_chars=0)

    async def several():
        texts = [judge.judge(a_document("x" * 50), Direction.INPUT) for _ in range(5)]
        return await asyncio.gather(*texts)

    asyncio.run(several())

    assert (server.most_at_once, len(server.asked)) == (3, 25)


def test_more_texts_than_may_wait_are_refused_at_once():
    server = Server()
    judge = a_judge(server, concurrency=1, queue=2)

    async def crowd():
        server.gate.clear()
        waiting = [asyncio.create_task(judge.judge(a_document("x"), Direction.INPUT)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(LayerUnavailable, match="too many"):
            await judge.judge(a_document("x"), Direction.INPUT)
        server.gate.set()
        return await asyncio.gather(*waiting)

    assert len(asyncio.run(crowd())) == 3


def test_a_silent_server_is_given_up_at_the_deadline_and_its_request_ended():
    server = Server()
    judge = a_judge(server, timeout_s=0.05)

    async def wait() -> None:
        server.gate.clear()
        with pytest.raises(LayerUnavailable, match=r"no answer within 0\.05 s"):
            await judge.judge(a_document("x"), Direction.INPUT)

    asyncio.run(wait())

    assert server.at_once == 0


def test_the_breaker_opens_after_failures_in_a_row_and_asks_no_more():
    server, clock = Server(lambda _asked: httpx2.Response(500)), Clock()
    judge = a_judge(server, clock, failures=3, rest_s=10)
    for _ in range(3):
        refused(judge)

    why = refused(judge)

    assert ("left alone" in why, len(server.asked), judge.circuit) == (True, 3, Circuit.OPEN)


def test_a_breaker_that_rested_lets_one_request_through_and_closes_on_its_success():
    server, clock = Server(lambda _asked: httpx2.Response(500)), Clock()
    judge = a_judge(server, clock, failures=1, rest_s=10)
    refused(judge)
    server.answer = lambda _asked: a_body(GOOD[FamilyName.QWEN3GUARD])
    clock.now = 10.0

    async def two():
        texts = [judge.judge(a_document("x"), Direction.INPUT) for _ in range(2)]
        return await asyncio.gather(*texts, return_exceptions=True)

    outcomes = asyncio.run(two())

    assert [isinstance(outcome, LayerUnavailable) for outcome in outcomes] == [False, True]
    assert judge.circuit is Circuit.CLOSED


def test_a_breaker_s_trial_that_fails_opens_it_again():
    server, clock = Server(lambda _asked: httpx2.Response(500)), Clock()
    judge = a_judge(server, clock, failures=3, rest_s=10)
    for _ in range(3):
        refused(judge)
    clock.now = 10.0

    refused(judge)

    assert judge.circuit is Circuit.OPEN


def test_a_trial_whose_caller_went_away_does_not_keep_the_breaker_half_open():
    server, clock = Server(lambda _asked: httpx2.Response(500)), Clock()
    judge = a_judge(server, clock, failures=1, rest_s=10)
    refused(judge)
    clock.now = 10.0
    server.answer = lambda _asked: a_body(GOOD[FamilyName.QWEN3GUARD])

    async def go_away() -> None:
        server.gate.clear()
        task = asyncio.create_task(judge.judge(a_document("x"), Direction.INPUT))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.gate.set()
        await judge.judge(a_document("x"), Direction.INPUT)

    asyncio.run(go_away())

    assert judge.circuit is Circuit.CLOSED


def test_texts_that_make_the_model_talk_nonsense_cannot_open_the_breaker():
    judge = a_judge(Server(lambda _asked: a_body("Hm.")), failures=2)

    for _ in range(5):
        refused(judge)

    assert judge.circuit is Circuit.CLOSED


def test_texts_that_wait_in_vain_for_their_turn_are_not_held_against_the_server():
    server = Server()
    judge = a_judge(server, concurrency=1, failures=4, timeout_s=0.05)

    async def crowd():
        server.gate.clear()
        texts = [judge.judge(a_document("x"), Direction.INPUT) for _ in range(5)]
        return await asyncio.gather(*texts, return_exceptions=True)

    outcomes = asyncio.run(crowd())

    assert all(isinstance(outcome, LayerUnavailable) for outcome in outcomes)
    assert (len(server.asked) < 4, judge.circuit) == (True, Circuit.CLOSED)


def test_a_connection_that_cannot_be_made_is_tried_three_times():
    server = Server(lambda _asked: httpx2.ConnectError("refused"))

    why = refused(a_judge(server))

    assert (why, len(server.asked)) == ("no connection", 3)


@pytest.mark.parametrize(
    "failure",
    [httpx2.ReadError(CANARY), httpx2.RemoteProtocolError(CANARY), httpx2.WriteError(CANARY)],
    ids=lambda failure: type(failure).__name__,
)
def test_a_request_that_may_have_arrived_is_not_sent_again(failure):
    server = Server(lambda _asked: failure)

    why = refused(a_judge(server))

    assert (CANARY in why, len(server.asked)) == (False, 1)


def test_an_idle_connection_that_the_server_had_closed_is_replaced():
    def closed(_asked):
        server.is_idle_connection = False
        server.answer = lambda _asked: a_body(GOOD[FamilyName.QWEN3GUARD])
        return httpx2.RemoteProtocolError("closed")

    server = Server(closed)
    server.is_idle_connection = True

    judged(a_judge(server))

    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "response",
    [
        httpx2.Response(200, headers={"content-type": "text/html"}, content=a_body("x")),
        httpx2.Response(200, headers={**JSON, "content-encoding": "identity"}, content=a_body("x")),
        httpx2.Response(302, headers={"location": "http://192.0.2.1/"}),
        httpx2.Response(429, headers={"retry-after": "1"}),
        httpx2.Response(200, headers=JSON, content=a_body(GOOD[FamilyName.QWEN3GUARD]) + b" " * (1 << 20)),
        httpx2.Response(204),
    ],
    ids=["html", "packed", "redirect", "429", "large", "204"],
)
def test_a_response_that_is_not_plain_json_is_no_judgement(response):
    assert refused(a_judge(Server(lambda _asked: response)))


def test_nothing_of_text_or_answer_is_logged_or_told(caplog):
    caplog.set_level(logging.DEBUG)
    judge = a_judge(Server(lambda asked: a_body(asked["messages"][0]["content"])))

    with pytest.raises(LayerUnavailable) as caught:
        judged(judge, CANARY)

    assert CANARY not in caplog.text + repr(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_half_a_surrogate_pair_is_judged_like_any_other_text():
    server = Server()

    judged(a_judge(server), "a\ud800b")

    assert server.asked[0]["messages"][0]["content"] == "a\ufffdb"


def probed(server: Server, **changes):
    return asyncio.run(a_judge(server, **changes).probe())


def models_and(content: str, *names: str):
    models = json.dumps({"data": [{"id": name} for name in names]}).encode()
    return lambda asked: models if asked is None else a_body(content)


def test_readiness_wants_the_model_and_a_judgement():
    assert probed(Server(models_and(GOOD[FamilyName.QWEN3GUARD], "other", "wire"))).is_ready


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (models_and(GOOD[FamilyName.QWEN3GUARD], "other"), "does not have the model"),
        (models_and("Hm.", "wire"), "form"),
        (lambda _asked: httpx2.Response(503), "503"),
        (lambda _asked: httpx2.ConnectError(CANARY), "no connection"),
    ],
    ids=["another model", "nonsense", "loading", "gone"],
)
def test_readiness_says_why_not(answer, why):
    readiness = probed(Server(answer))

    assert (readiness.is_ready, why in readiness.why) == (False, True)


def test_readiness_waits_no_longer_than_the_deadline():
    server = Server()
    judge = a_judge(server, timeout_s=0.05)

    async def wait():
        server.gate.clear()
        return await judge.probe()

    assert "no answer within" in asyncio.run(wait()).why


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://192.0.2.1/v1"},
        {"url": "http://judge.internal/v1"},
        {"url": "https://judge.internal/v1"},
        {"url": "ftp://127.0.0.1/v1"},
        {"url": "http://user@127.0.0.1/v1"},
        {"window_chars": 10, "overlap_chars": 10},
        {"concurrency": 0},
        {"timeout_s": 0},
    ],
    ids=str,
)
def test_settings_that_would_not_hold_are_refused(changes):
    with pytest.raises(ValueError, match=r"judge|HTTP|window|times"):
        some_settings(**changes)
