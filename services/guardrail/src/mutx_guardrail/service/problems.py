"""What a caller can be told beside a verdict: one JSON shape (RFC 9457), stable codes."""

from __future__ import annotations

from types import MappingProxyType

from mutx_service.problem import COMMON_KINDS, Kinds, ProblemKind

KINDS: Kinds = MappingProxyType(
    {
        **COMMON_KINDS,
        "agent-unknown": ProblemKind(404, "No such agent is declared"),
        "agent-foreign": ProblemKind(403, "The certificate is another agent's"),
        "review-unknown": ProblemKind(404, "There is no such finding to review"),
        "sink-not-streamable": ProblemKind(
            409, "Text for this sink is escaped as a whole, and cannot be streamed"
        ),
        "agent-unreachable": ProblemKind(502, "The agent could not be reached"),
        "agent-malformed": ProblemKind(502, "The agent's answer could not be understood"),
        "guard-busy": ProblemKind(503, "The guardrail judges as many texts as it can", 1),
        "guard-degraded": ProblemKind(503, "A layer that has to judge cannot"),
        "store-unavailable": ProblemKind(503, "The state of the agents is not known", 1),
        "agent-timeout": ProblemKind(504, "The agent did not answer in time"),
    }
)
