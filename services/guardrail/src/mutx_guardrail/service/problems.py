"""What a caller can be told beside a verdict: one JSON shape (RFC 9457), stable codes.

A run that is refused for its input is the caller's (403); one refused for its output is the agent's, behind a gateway
that will not pass on what it got (502). Both carry the verdict. A layer that could not judge is neither's: 503.
"""

from __future__ import annotations

from types import MappingProxyType

from mutx_service.problem import AGENT_KINDS, COMMON_KINDS, Kinds, ProblemKind

TOLD_ON: Kinds = MappingProxyType({**AGENT_KINDS, "body-too-large": COMMON_KINDS["body-too-large"]})
"""What an agent's own codes mean when they are told on; its words are not."""

KINDS: Kinds = MappingProxyType(
    {
        **COMMON_KINDS,
        **TOLD_ON,
        "input-refused": ProblemKind(403, "The guardrail refused the input"),
        "output-refused": ProblemKind(502, "The guardrail refused the agent's output"),
        "agent-rate-limited": ProblemKind(429, "The agent is asked more often than it may be"),
        "caller-slow": ProblemKind(408, "The caller did not take the answer in time"),
        "agent-unknown": ProblemKind(404, "No such agent is declared"),
        "agent-foreign": ProblemKind(403, "The certificate is another agent's"),
        "review-unknown": ProblemKind(404, "There is no such finding to review"),
        "sink-not-streamable": ProblemKind(
            409, "Text for this sink is escaped as a whole, and cannot be streamed"
        ),
        "agent-unreachable": ProblemKind(502, "The agent could not be reached"),
        "agent-malformed": ProblemKind(502, "The agent's answer could not be understood"),
        "agent-failed": ProblemKind(502, "The agent failed"),
        "answer-too-large": ProblemKind(502, "The agent's answer is larger than is taken"),
        "guard-busy": ProblemKind(503, "The guardrail judges as many texts as it can", 1),
        "guard-degraded": ProblemKind(503, "A layer that has to judge cannot"),
        "reviews-unavailable": ProblemKind(503, "The reviews cannot be read or written", 1),
        "store-unavailable": ProblemKind(503, "The state of the agents is not known", 1),
        "agent-timeout": ProblemKind(504, "The agent did not answer in time"),
    }
)
