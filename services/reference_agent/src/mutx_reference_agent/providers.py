"""The two wire forms, each with its vendor's LangChain class, and what a provider's failure is called.

Imported when an agent starts, not before: LangChain and the vendors' clients take seconds to load.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Protocol, runtime_checkable

import httpx2
from langchain_core.language_models import BaseChatModel
from mutx_service.problem import Problem
from pydantic import PrivateAttr, SecretStr

from mutx_reference_agent.settings import Settings

PLACEHOLDER = "the-transport-has-it"
"""What the vendor's client takes for the key."""

GUARD_REFUSALS = frozenset(
    {
        "prompt_injection_detected", "toxic_content_detected", "unsafe_content_detected", "pii_detected",
        "secret_detected", "length_exceeded", "dangerous_characters_detected", "rate_limit_exceeded", "agent_paused",
        "check_unavailable", "content_not_judged", "content_not_maskable", "provider_not_permitted",
        "answer_not_judged", "answer_too_large", "not_logged",
    }
)  # fmt: skip
"""What the guard says on the judged way, as the code of a provider's own error (docs/how-to/guard-an-agent.md)."""

_LONGEST_RETRY_AFTER_S = 3600
_SERVER_ERROR = 500
_TOO_MANY_REQUESTS = 429
_CODE_OF_STATUS = {
    401: "provider-key-refused",
    403: "provider-key-refused",
    408: "provider-timeout",
    429: "provider-rate-limited",
    504: "provider-timeout",
}


def build_model(settings: Settings, transport: httpx2.AsyncBaseTransport) -> BaseChatModel:
    """Return the chat model of the agent's provider, whose every call goes by `transport`."""
    timeout = httpx2.Timeout(settings.limits.call_s, connect=min(10, settings.limits.call_s))
    client = httpx2.AsyncClient(transport=transport, timeout=timeout, trust_env=False, follow_redirects=False)
    return _anthropic(settings, client) if settings.provider == "anthropic" else _openai(settings, client)


def problem_of(error: Exception) -> Problem:
    """Return what a failure of a model's call is called; words of the provider do not come along."""
    for each in _chain(error):
        if isinstance(each, Problem):
            return each
        if code := _guard_s_code(each):
            return Problem("guard-refused", f"the guard said {code}")
        if isinstance(each, _HasStatus):
            return _problem_of_status(each)
        if isinstance(each, httpx2.TimeoutException):
            return Problem("provider-timeout")
        if isinstance(each, httpx2.TransportError):
            return Problem("provider-unreachable")
    return Problem("provider-malformed")


@runtime_checkable
class _HasStatus(Protocol):
    """The vendors' `APIStatusError`."""

    status_code: int
    response: httpx2.Response


def _guard_s_code(error: BaseException) -> str:
    """Return why the guard let a call or its answer not pass; nothing where it is no error of the guard's.

    OpenAI's client keeps the error itself as the body, Anthropic's what is around it. The guard refuses with 400;
    OpenAI's own `rate_limit_exceeded` comes with 429.
    """
    if getattr(error, "status_code", None) == _TOO_MANY_REQUESTS:
        return ""
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else None
    code = inner.get("code") if isinstance(inner, dict) else None
    return code if isinstance(code, str) and code in GUARD_REFUSALS else ""


def _problem_of_status(error: _HasStatus) -> Problem:
    status = error.status_code
    fallback = "provider-failed" if status >= _SERVER_ERROR else "provider-refused"
    code = _CODE_OF_STATUS.get(status, fallback)
    if code != "provider-rate-limited":
        return Problem(code, f"the provider answered {status}")
    asked = re.fullmatch(r"(\d{1,6})(\.\d+)?", error.response.headers.get("retry-after", ""))
    wait_s = min(int(asked[1]) + bool(asked[2]), _LONGEST_RETRY_AFTER_S) if asked else None
    return Problem(code, f"the provider answered {status}", retry_after_s=wait_s)


def _chain(error: BaseException | None) -> list[BaseException]:
    """Return an error with its causes, outermost first."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _openai(settings: Settings, client: httpx2.AsyncClient) -> BaseChatModel:
    from langchain_openai import ChatOpenAI  # noqa: PLC0415 - only the provider in use is loaded

    return ChatOpenAI(
        model=settings.model,
        api_key=SecretStr(PLACEHOLDER),
        base_url=settings.base_url,
        http_async_client=client,
        http_client=httpx2.Client(transport=httpx2.MockTransport(_refuse), trust_env=False),
        max_retries=settings.limits.call_retries,
        timeout=client.timeout,
        max_completion_tokens=settings.limits.max_output_tokens,
        use_responses_api=False,
    )


def _anthropic(settings: Settings, client: httpx2.AsyncClient) -> BaseChatModel:
    from anthropic import AsyncAnthropic  # noqa: PLC0415
    from langchain_anthropic import ChatAnthropic  # noqa: PLC0415

    class TenantChatAnthropic(ChatAnthropic):
        """LangChain's class has no parameter for the HTTP client, so the vendor's client is given here."""

        _given: httpx2.AsyncClient = PrivateAttr()

        @cached_property
        def _async_client(self) -> AsyncAnthropic:
            return AsyncAnthropic(
                api_key=PLACEHOLDER,
                base_url=settings.base_url,
                http_client=client,
                max_retries=settings.limits.call_retries,
                timeout=client.timeout,
            )

    return TenantChatAnthropic(
        model_name=settings.model,
        api_key=SecretStr(PLACEHOLDER),
        base_url=settings.base_url,
        max_tokens_to_sample=settings.limits.max_output_tokens,
        timeout=settings.limits.call_s,
        stop=None,
    )


def _refuse(_request: httpx2.Request) -> httpx2.Response:
    raise RuntimeError("the agent makes no synchronous call")
