"""Every refusal and failure a caller can meet: one JSON shape (RFC 9457), stable codes.

A problem never holds a key, a prompt, an answer, or the words of a provider: those may quote any of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """What a code means: the HTTP status, a title that never varies, and whether a retry may help."""

    status: int
    title: str
    retry_after_s: int | None = None


Kinds = Mapping[str, ProblemKind]

COMMON_KINDS: Kinds = MappingProxyType(
    {
        "http-invalid": ProblemKind(400, "This is not HTTP/1.1"),
        "caller-refused": ProblemKind(403, "The client certificate names no permitted caller"),
        "caller-expired": ProblemKind(
            403, "The client certificate has expired since the connection was made"
        ),
        "not-found": ProblemKind(404, "There is no such resource"),
        "method-not-allowed": ProblemKind(405, "The resource does not have this method"),
        "body-slow": ProblemKind(408, "The body did not arrive in time"),
        "body-too-large": ProblemKind(413, "The body is larger than is taken"),
        "media-type": ProblemKind(415, "The body must be application/json"),
        "request-invalid": ProblemKind(422, "The request does not have the wanted form"),
        "defect": ProblemKind(500, "The service has a defect"),
    }
)
"""What the kit itself raises. A service's table begins with these."""

AGENT_KINDS: Kinds = MappingProxyType(
    {
        "agent-paused": ProblemKind(409, "The agent is paused and takes no new runs"),
        "guard-refused": ProblemKind(502, "The guard refused what goes to the provider, or what came back"),
        "provider-key-refused": ProblemKind(502, "The provider refused the tenant's key"),
        "provider-refused": ProblemKind(502, "The provider refused the request"),
        "provider-failed": ProblemKind(502, "The provider failed"),
        "provider-unreachable": ProblemKind(502, "The provider could not be reached"),
        "provider-malformed": ProblemKind(502, "The provider's answer could not be understood"),
        "provider-rate-limited": ProblemKind(503, "The provider limits the tenant's rate", 1),
        "agent-starting": ProblemKind(503, "The agent is starting", 1),
        "agent-busy": ProblemKind(503, "The agent has as many runs as it takes", 1),
        "agent-stopping": ProblemKind(503, "The agent is stopping", 5),
        "key-missing": ProblemKind(503, "The provider key is not there", 5),
        "key-unusable": ProblemKind(503, "The provider key's file is not usable"),
        "provider-timeout": ProblemKind(504, "The provider did not answer in time"),
        "run-timeout": ProblemKind(504, "The run did not end in time"),
        "run-steps-exceeded": ProblemKind(504, "The run took more steps than it may"),
    }
)
"""An agent's own codes (docs/reference/agent-contract.md): an agent says them, and the guard tells them on."""


class Problem(Exception):  # noqa: N818 - RFC 9457's own word
    """A failure that a caller is told about. What its code means stands in the table of the service that answers.

    Args:
        code: a key of the service's kinds.
        detail: what the caller needs to find the cause; no text of a run, no key.
        errors: for `request-invalid`, one entry per wrong field.
        retry_after_s: what somebody else asked for, instead of the kind's own.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: Sequence[Mapping[str, str]] = (),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(code)
        self.code, self.detail, self.errors = code, detail, tuple(errors)
        self.retry_after_s = retry_after_s

    def document(self, kinds: Kinds, trace_id: str = "") -> dict[str, object]:
        """Return the JSON document; empty members are left out."""
        kind = kinds[self.code]
        whole = {
            "type": f"urn:mutx:problem:{self.code}",
            "title": kind.title,
            "status": kind.status,
            "code": self.code,
            "detail": self.detail,
            "trace_id": trace_id,
            "errors": [dict(error) for error in self.errors],
        }
        return {name: value for name, value in whole.items() if value not in ("", [])}
