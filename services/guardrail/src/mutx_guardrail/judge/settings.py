"""Where the judge is, what it is, and how much of it is used."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from mutx_guardrail.judge.confidence import Calibration


class FamilyName(StrEnum):
    """How a model is asked and how it answers."""

    QWEN3GUARD = "qwen3guard"
    GRANITE_GUARDIAN = "granite-guardian"
    LLAMA_GUARD = "llama-guard"
    INSTRUCT = "instruct"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The CA of the judge's certificate, and the certificate and key to show it; PEM. A new pair is taken up."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """The judge and its bounds.

    Args:
        url: up to and with the version, as `http://127.0.0.1:8000/v1`. Plain HTTP goes to a loopback address or through
            `socket`; everything else is HTTPS with `tls`.
        model: as the server names it.
        timeout_s: for one text, from the call to the verdict, waiting for a turn included.
        window_chars: a longer text is judged in windows of so many characters, each `overlap_chars` into the last.
        windows: a text that needs more is not judged.
        concurrency: requests to the server at once.
        queue: texts that may wait; more are refused at once.
        failures: of the server, one after another, before it is left alone for `rest_s`.

    Raises:
        ValueError: the address would carry texts in the clear, or a bound makes no sense.
    """

    url: str
    model: str
    family: FamilyName
    socket: Path | None = None
    tls: TlsFiles | None = None
    api_key: SecretStr | None = None
    timeout_s: float = 10.0
    window_chars: int = 6_000
    overlap_chars: int = 300
    windows: int = 16
    concurrency: int = 8
    queue: int = 64
    failures: int = 5
    rest_s: float = 10.0
    calibration: Calibration = field(default_factory=Calibration)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if (
            parts.scheme not in {"http", "https"}
            or not parts.hostname
            or parts.query
            or parts.fragment
            or parts.username
        ):
            raise ValueError("the judge's url is `http(s)://HOST[:PORT]/v1`, without user, query or fragment")
        if parts.scheme == "https" and self.tls is None:
            raise ValueError("a judge behind HTTPS needs `tls`: both sides show a certificate")
        if parts.scheme == "http" and self.socket is None and not _is_loopback(parts.hostname):
            raise ValueError("plain HTTP goes to a loopback address or a unix socket; use https and `tls`")
        if not 0 <= self.overlap_chars < self.window_chars:
            raise ValueError("a window is longer than what it shares with the last")
        if min(self.windows, self.concurrency, self.failures) < 1 or self.queue < 0:
            raise ValueError("windows, concurrency and failures are 1 or more, the queue 0 or more")
        if self.timeout_s <= 0 or self.rest_s <= 0:
            raise ValueError("times are longer than 0 s")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
