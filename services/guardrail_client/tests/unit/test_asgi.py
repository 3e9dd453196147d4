"""A guarded endpoint: what it is given, what leaves it, and when nothing does."""

from __future__ import annotations

import asyncio
import json

import pytest
from asgi_driver import serve
from fastapi import FastAPI
from mutx_guardrail_client.asgi import Endpoint, GuardMiddleware
from mutx_guardrail_client.fields import MOST_TEXTS, PointerError
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from wire import Guards, raw


class Message(BaseModel):
    message: str


CHAT = Endpoint("/chat", request=("/message",), response=("/reply",))
WRITTEN = [f"word {number} and jane@example.com then " for number in range(40)]
CLEAN = "".join(WRITTEN).replace("jane@example.com", "[REDACTED]")


def guarded(answer, endpoint=CHAT, guards=None):
    """Return an application whose one route answers by a function of the request's document."""
    seen = []

    async def route(request):
        body = await request.body()
        seen.append((body, dict(request.headers)))
        made = answer(json.loads(body) if body else None)
        return made if isinstance(made, Response) else JSONResponse(made)

    routes = [Route(endpoint.path, route, methods=["GET", "POST"]), Route("/other", route, methods=["POST"])]
    app = GuardMiddleware(Starlette(routes=routes), (guards or Guards()).aio(), [endpoint])
    return app, seen


def say(app, document, path="/chat", **headers):
    return serve(app, path, json.dumps(document).encode(), **headers)


def test_what_the_guard_made_of_it_goes_in_and_out():
    app, seen = guarded(lambda told: {"reply": f"you said {told['message']}; jane@example.com", "n": 1})

    served = say(app, {"message": "I am jane@example.com", "n": 2})

    assert json.loads(seen[0][0]) == {"message": "I am [REDACTED]", "n": 2}
    assert seen[0][1]["content-length"] == str(len(seen[0][0]))
    assert served.status == 200
    assert served.json() == {"reply": "you said I am [REDACTED]; [REDACTED]", "n": 1}


def test_a_refused_text_never_reaches_the_application():
    app, seen = guarded(lambda _: {"reply": "x"})

    served = say(app, {"message": "evil"})

    assert (served.status, served.headers["content-type"]) == (403, "application/problem+json")
    assert served.json()["reason"] == "prompt_injection_detected"
    assert seen == []


def test_a_refused_answer_never_leaves():
    app, _ = guarded(lambda _: {"reply": "evil words"})

    served = say(app, {"message": "x"})

    assert (served.status, served.json()["code"]) == (403, "text-refused")
    assert b"evil" not in served.body


@pytest.mark.parametrize("path", ["/v1/guard/input", "/v1/guard/output"])
def test_without_the_guard_nothing_passes(path):
    guards = Guards(
        lambda asked, question: raw(b"", 503) if asked == path else {**Guards()._answer(asked, question)}
    )
    app, seen = guarded(lambda _: {"reply": "secret answer"}, guards=guards)

    served = say(app, {"message": "x"})

    assert (served.status, served.json()["code"]) == (503, "guard-unavailable")
    assert len(seen) == (path == "/v1/guard/output")


UNREADABLE = {
    "no-json": b"message=x",
    "cut": b'{"message": "x"',
    "twice": b'{"message": "x", "message": "evil"}',
    "twice-inside": b'{"message": {"a": "x", "a": "evil"}}',
    "nan": b'{"message": "x", "n": NaN}',
    "infinite": b'{"message": "x", "n": 1e999}',
    "latin-1": '{"message": "é"}'.encode("latin-1"),
    "utf-16": '{"message": "x"}'.encode("utf-16"),
    "deep": b'{"message": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "empty": b"",
    "without-the-text": b'{"Message": "evil"}',
    "too-many": json.dumps({"message": ["x"] * (MOST_TEXTS + 1)}).encode(),
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_body_that_cannot_be_read_is_refused(body):
    app, seen = guarded(lambda _: {"reply": "x"})

    served = serve(app, "/chat", body)

    assert served.status == 422
    assert seen == []


@pytest.mark.parametrize(
    "headers", [{"content_type": "text/plain"}, {"content_type": ""}, {"content_encoding": "gzip"}],
    ids=["text", "none", "packed"],
)  # fmt: skip
def test_a_body_of_another_kind_is_refused(headers):
    app, seen = guarded(lambda _: {"reply": "x"})

    served = say(app, {"message": "x"}, **headers)

    assert served.status == 415
    assert seen == []


def test_a_body_that_is_too_large_is_refused():
    app, _ = guarded(lambda _: {"reply": "x"})

    assert say(app, {"message": "x" * (2 << 20)}).status == 413


def test_texts_at_any_depth_are_judged():
    app, seen = guarded(lambda told: {"reply": told["message"]})

    say(app, {"message": {"a": ["jane@example.com", {"b": "jane@example.com"}, 3, None]}})

    assert json.loads(seen[0][0]) == {"message": {"a": ["[REDACTED]", {"b": "[REDACTED]"}, 3, None]}}


@pytest.mark.parametrize("message", [{"evil": 1}, {"jane@example.com": 1}], ids=["refused", "not-maskable"])
def test_a_name_that_does_not_pass_refuses_the_body(message):
    app, seen = guarded(lambda _: {"reply": "x"})

    assert say(app, {"message": message}).status == 403
    assert seen == []


def test_a_star_names_every_item():
    endpoint = Endpoint("/chat", request=("/messages/*/content",), response=("/a~1b/0",))
    app, seen = guarded(lambda _: {"a/b": ["jane@example.com", "jane@example.com"]}, endpoint)

    served = say(
        app, {"messages": [{"content": "x"}, {"content": "jane@example.com", "id": "jane@example.com"}]}
    )

    assert json.loads(seen[0][0])["messages"][1] == {"content": "[REDACTED]", "id": "jane@example.com"}
    assert served.json() == {"a/b": ["[REDACTED]", "jane@example.com"]}


def test_a_pointer_that_is_none_is_told_at_the_start():
    with pytest.raises(PointerError):
        GuardMiddleware(Starlette(), Guards().aio(), [Endpoint("/chat", request=("message",))])


def test_another_path_is_not_touched():
    guards = Guards()
    app, _ = guarded(lambda told: told, guards=guards)

    assert say(app, {"message": "evil"}, "/other").json() == {"message": "evil"}
    assert guards.asked == []


@pytest.mark.parametrize("path", ["/chat", "/chat\n"], ids=["as-it-is", "with-a-line-end"])
def test_no_way_of_writing_the_path_leads_past_the_guard(path):
    app, seen = guarded(lambda _: {"reply": "x"})

    assert say(app, {"message": "evil"}, path).status == 403
    assert seen == []


def test_a_path_with_names_is_guarded():
    app, _ = guarded(lambda _: {"reply": "evil"}, Endpoint("/agents/{name}/chat", response=("/reply",)))

    assert say(app, {}, "/agents/a b/chat").status == 403


UNJUDGED = {
    "html": lambda _: Response("<b>evil</b>", media_type="text/html"),
    "plain": lambda _: PlainTextResponse("evil"),
    "packed": lambda _: Response(b"x", media_type="application/json", headers={"content-encoding": "gzip"}),
    "no-json": lambda _: Response(b"{", media_type="application/json"),
    "twice": lambda _: Response(b'{"reply":"x","reply":"evil"}', media_type="application/json"),
    "without-the-text": lambda _: {"Reply": "evil"},
    "events": lambda _: StreamingResponse(iter([b"data: evil\n\n"]), media_type="text/event-stream"),
    "no-type": lambda _: Response(b"evil"),
}


@pytest.mark.parametrize("answer", UNJUDGED.values(), ids=UNJUDGED.keys())
def test_an_answer_that_cannot_be_judged_does_not_leave(answer):
    app, _ = guarded(answer)

    served = say(app, {"message": "x"})

    assert (served.status, served.json()["code"]) == (502, "response-not-judged")
    assert b"evil" not in served.body


@pytest.mark.parametrize("media_type", ["text/html", "text/markdown", "application/x-ndjson"])
def test_only_plain_text_streams_as_text(media_type):
    app = streaming(["evil"], media_type, Endpoint("/chat", stream=""))

    assert say(app, {}).status == 502


def test_an_error_of_the_applications_own_leaves():
    app, _ = guarded(lambda _: JSONResponse({"detail": "nothing here"}, 404))

    served = say(app, {"message": "x"})

    assert (served.status, served.json()) == (404, {"detail": "nothing here"})


@pytest.mark.parametrize(
    ("text", "status"), [("Not jane@example.com", 404), ("evil", 403)], ids=["judged", "refused"]
)
def test_an_error_in_plain_text_is_judged(text, status):
    app, _ = guarded(lambda _: PlainTextResponse(text, 404))

    served = say(app, {"message": "x"})

    assert served.status == status
    assert b"jane" not in served.body
    assert b"evil" not in served.body


def test_an_answer_without_a_body_leaves():
    app, _ = guarded(lambda _: Response(status_code=204))

    assert say(app, {"message": "x"}).status == 204


def test_what_is_said_of_the_bytes_is_left_out():
    app, _ = guarded(
        lambda _: JSONResponse({"reply": "jane@example.com"}, headers={"etag": '"1"', "x-kept": "1"})
    )

    headers = say(app, {"message": "x"}).headers

    assert "etag" not in headers
    assert "content-length" not in headers
    assert headers["x-kept"] == "1"


def streaming(parts, media_type, endpoint):
    async def written():
        for part in parts:
            await asyncio.sleep(0)
            yield part

    return guarded(lambda _: StreamingResponse(written(), media_type=media_type), endpoint)[0]


def test_plain_text_streams_by_windows():
    app = streaming(WRITTEN, "text/plain", Endpoint("/chat", stream=""))

    served = say(app, {})

    assert served.body.decode() == CLEAN
    assert len(served.parts) > 3
    assert served.is_complete


def test_plain_text_cut_within_a_character_is_put_together():
    body = ("é🙂 " * 400).encode()
    app = streaming(
        [body[at : at + 7] for at in range(0, len(body), 7)], "text/plain", Endpoint("/chat", stream="")
    )

    assert say(app, {}).body == body


def test_plain_text_that_is_refused_at_once_is_a_problem():
    app = streaming(["evil ", "word " * 300], "text/plain", Endpoint("/chat", stream=""))

    served = say(app, {})

    assert (served.status, served.json()["code"]) == (403, "text-refused")


def test_plain_text_that_is_refused_later_ends_with_the_connection():
    app = streaming([*WRITTEN, "evil " * 100, *WRITTEN], "text/plain", Endpoint("/chat", stream=""))

    served = say(app, {})

    assert served.status == 200
    assert served.error is not None
    assert not served.is_complete
    assert served.body
    assert b"evil" not in served.body


def events(*documents):
    return [f"event: delta\nid: {at}\ndata: {json.dumps(each)}\n\n" for at, each in enumerate(documents)]


def parsed(body):
    found = []
    for block in body.decode().split("\n\n")[:-1]:
        fields = [line.partition(": ")[::2] for line in block.split("\n")]
        found.append(
            (dict(fields).get("event", ""), "\n".join(value for name, value in fields if name == "data"))
        )
    return found


SSE = Endpoint("/chat", response=("/whole",), stream="/delta/text")


def test_events_stream_by_windows_in_their_order():
    deltas = [{"delta": {"text": each, "at": at}} for at, each in enumerate(WRITTEN)]
    deltas.insert(20, {"tool": "clock"})
    parts = [*events(*deltas, {"whole": "by jane@example.com"}), "data: [DONE]\n\n"]
    app = streaming(parts, "text/event-stream; charset=utf-8", SSE)

    served = say(app, {})

    documents = [json.loads(data) for _, data in parsed(served.body)[:-1]]
    assert "".join(each["delta"]["text"] for each in documents if "delta" in each) == CLEAN
    assert [each["delta"]["at"] for each in documents if "delta" in each] == list(range(40))
    assert documents.index({"tool": "clock"}) == 20
    assert documents[-1] == {"whole": "by [REDACTED]"}
    assert parsed(served.body)[-1] == ("", "[DONE]")
    assert len(served.parts) > 3


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("size", [1, 11, 10_000])
def test_events_are_read_however_they_arrive(end, size):
    body = "".join(events(*({"delta": {"text": each}} for each in WRITTEN))).replace("\n", end).encode()
    app = streaming([body[at : at + size] for at in range(0, len(body), size)], "text/event-stream", SSE)

    served = say(app, {})

    assert "".join(json.loads(data)["delta"]["text"] for _, data in parsed(served.body)) == CLEAN


def test_data_that_is_the_text_itself_is_judged():
    app = streaming(
        [f"data: {each}\n\n" for each in WRITTEN], "text/event-stream", Endpoint("/chat", stream="")
    )

    assert "".join(data for _, data in parsed(say(app, {}).body)).replace(" ", "") == CLEAN.replace(" ", "")


def test_a_comment_leaves_at_once():
    app = streaming([": alive\n\n", *events({"delta": {"text": "x"}})], "text/event-stream", SSE)

    assert say(app, {}).parts[0] == b": alive\n\n"


def test_events_that_are_refused_end_in_an_error():
    deltas = [{"delta": {"text": each}} for each in [*WRITTEN, "evil " * 100, *WRITTEN]]
    app = streaming(events(*deltas), "text/event-stream", SSE)

    served = say(app, {})

    name, data = parsed(served.body)[-1]
    assert (name, json.loads(data)["reason"]) == ("error", "prompt_injection_detected")
    assert served.is_complete
    assert served.body.count(b"evil") == 0


@pytest.mark.parametrize(
    "data", ["evil", "{", '{"delta":{"text":"x"},"delta":{"text":"evil"}}'], ids=["word", "cut", "twice"]
)
def test_an_event_that_cannot_be_read_ends_the_stream(data):
    app = streaming([f"data: {data}\n\n"], "text/event-stream", SSE)

    assert say(app, {}).status == 503


def test_a_whole_in_an_event_is_refused_as_well():
    app = streaming(events({"whole": "evil"}), "text/event-stream", SSE)

    assert say(app, {}).status == 403


def test_a_guard_that_goes_in_mid_stream_ends_it():
    guards = Guards()
    answer, guards._answer = (
        guards._answer,
        lambda path, q: raw(b"", 503) if "39" in str(q) else answer(path, q),
    )
    parts = events(*({"delta": {"text": each}} for each in WRITTEN))
    app = guarded(lambda _: StreamingResponse(iter(parts), media_type="text/event-stream"), SSE, guards)[0]

    served = say(app, {})

    assert json.loads(parsed(served.body)[-1][1])["code"] == "guard-unavailable"
    assert b"word 39" not in served.body


def test_how_a_run_ended_is_told():
    def ended(answer):
        guards = Guards()
        say(guarded(answer, guards=guards)[0], {"message": "x"})
        return [question["ok"] for path, question in guards.asked if path.endswith("/outcome")]

    assert ended(lambda _: {"reply": "judged, and so counted"}) == []
    assert ended(lambda _: JSONResponse({}, 404)) == [True]
    assert ended(lambda _: JSONResponse({}, 500)) == [False]
    assert ended(lambda _: {"reply": "evil"}) == [False]
    assert ended(lambda _: 1 / 0) == [False]


def test_a_web_socket_to_a_guarded_path_is_closed():
    app, _ = guarded(lambda _: {"reply": "x"})
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(app({"type": "websocket", "path": "/chat"}, None, send))

    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_fastapi_gets_the_judged_text():
    app = FastAPI()
    app.add_middleware(GuardMiddleware, guard=Guards().aio(), endpoints=[CHAT])

    @app.post("/chat")
    async def chat(told: Message) -> dict[str, str]:
        return {"reply": told.message}

    assert say(app, {"message": "jane@example.com"}).json() == {"reply": "[REDACTED]"}
    assert say(app, {"message": "evil"}).status == 403
