"""Faults at the AWS HTTP boundary: errors, throttling, latency and lost connections, by rule, repeatable by seed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from io import BytesIO
from random import Random
from threading import Lock
from typing import Any, Self

from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HeadersDict
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session

KINDS = ("500", "throttle", "latency", "drop", "drop-response")

_CODES = {"500": (500, "InternalError"), "throttle": (503, "RequestLimitExceeded")}
_JSON_CODES = {"500": (500, "InternalFailure"), "throttle": (400, "ThrottlingException")}


@dataclass(slots=True)
class Fault:
    """One rule: which calls fail, how, and how often.

    Attributes:
        kind: `500` and `throttle` answer for AWS; `latency` delays; `drop` loses the request before AWS saw it;
            `drop-response` lets AWS act and loses the answer.
        operation: glob over API operation names, e.g. `Create*`.
        probability: chance of each matching call to be hit; ignored where `every` is given.
        every: hit each n-th matching call.
        times: stop after so many hits; 0 never stops.
        seconds: the delay of `latency`.
        seed: makes the sequence repeatable.
    """

    kind: str
    operation: str = "*"
    probability: float = 1.0
    every: int = 0
    times: int = 0
    seconds: float = 0.1
    seed: int = 0
    hits: int = 0
    _seen: int = 0
    _random: Random = field(init=False, default_factory=Random)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}; known are {', '.join(KINDS)}")
        self._random = Random(self.seed)  # noqa: S311 - repeatable on purpose

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `kind[:name=value,…]`, e.g. `drop-response:operation=Create*,every=3`.

        Raises:
            ValueError: an unknown kind, name or value.
        """
        kind, _, rest = text.partition(":")
        converters = {
            "operation": str,
            "probability": float,
            "every": int,
            "times": int,
            "seconds": float,
            "seed": int,
        }
        options: dict[str, Any] = {}
        for part in filter(None, rest.split(",")):
            name, _, value = part.partition("=")
            if name not in converters:
                raise ValueError(
                    f"fault {text!r}: unknown option {name!r}; known are {', '.join(converters)}"
                )
            options[name] = converters[name](value)
        return cls(kind, **options)

    def strikes(self, operation: str) -> bool:
        """Decide whether this call is hit, and count it."""
        if not fnmatchcase(operation, self.operation) or (self.times and self.hits >= self.times):
            return False
        self._seen += 1
        struck = self._seen % self.every == 0 if self.every else self._random.random() < self.probability
        self.hits += struck
        return struck

    def as_text(self) -> str:
        """Return the rule as `parse` reads it."""
        return (
            f"{self.kind}:operation={self.operation},probability={self.probability},every={self.every},"
            f"times={self.times},seconds={self.seconds},seed={self.seed}"
        )


class Boundary:
    """Sees every HTTP request to AWS: counts it, and lets the rules in force act on it.

    Registered as botocore's `before-send` hook, so that retries meet faults as they would on a real network.
    """

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = list(faults)
        self._calls: Counter[str] = Counter()
        self._lock = Lock()
        self._http = URLLib3Session()

    def replace(self, faults: Iterable[Fault]) -> None:
        """Put other rules in force."""
        with self._lock:
            self._faults = list(faults)

    def describe(self) -> list[dict[str, Any]]:
        """Return the rules in force and how often each has struck."""
        with self._lock:
            return [{"fault": fault.as_text(), "hits": fault.hits} for fault in self._faults]

    def take_calls(self, *, reset: bool) -> dict[str, int]:
        """Return HTTP requests by operation since the start or the last reset."""
        with self._lock:
            calls = dict(sorted(self._calls.items()))
            if reset:
                self._calls.clear()
            return calls

    def before_send(self, request: AWSPreparedRequest, event_name: str, **_: object) -> AWSResponse | None:
        """Handle botocore's `before-send.<service>.<Operation>`; an answer or an exception replaces the call."""
        operation = event_name.rsplit(".", 1)[-1]
        with self._lock:
            self._calls[operation] += 1
            struck = [fault for fault in self._faults if fault.strikes(operation)]
        for fault in struck:
            if fault.kind == "latency":
                time.sleep(fault.seconds)
        for fault in struck:
            if fault.kind != "latency":
                return self._fail(fault.kind, request)
        return None

    def _fail(self, kind: str, request: AWSPreparedRequest) -> AWSResponse:
        if kind == "drop-response":
            self._http.send(request)
        if kind.startswith("drop"):
            raise ConnectionClosedError(request=request, endpoint_url=request.url)
        return _error_response(kind, request)


def _error_response(kind: str, request: AWSPreparedRequest) -> AWSResponse:
    if "X-Amz-Target" in request.headers:
        status, code = _JSON_CODES[kind]
        body = f'{{"__type":"{code}","message":"injected by the sandbox"}}'
        content_type = "application/x-amz-json-1.1"
    else:
        status, code = _CODES[kind]
        error = f"<Error><Code>{code}</Code><Message>injected by the sandbox</Message></Error>"
        # EC2 nests errors in a list, the query protocol of IAM and STS does not.
        ec2 = ".ec2." in f".{request.url}" or b"2016-11-15" in _body(request)
        body = (
            f"<Response><Errors>{error}</Errors><RequestID>sandbox</RequestID></Response>"
            if ec2
            else f"<ErrorResponse>{error}<RequestId>sandbox</RequestId></ErrorResponse>"
        )
        content_type = "text/xml"
    # botocore's own mapping of headers; the stubs want urllib3's message class, which it never was.
    headers: Any = HeadersDict({"content-type": content_type})
    return AWSResponse(request.url, status, headers, _Raw(body.encode()))


def _body(request: AWSPreparedRequest) -> bytes:
    body = request.body
    if isinstance(body, str):
        return body.encode()
    return body if isinstance(body, bytes) else b""


class _Raw(BytesIO):
    """What `AWSResponse` reads its content from (it expects urllib3's `stream`)."""

    def stream(self, _amount: int = 65536, decode_content: bool | None = None) -> Iterable[bytes]:  # noqa: ARG002
        yield self.read()
