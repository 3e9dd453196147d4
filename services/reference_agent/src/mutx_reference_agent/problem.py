"""The codes of the agent's refusals and failures (docs/reference/agent-contract.md)."""

from __future__ import annotations

from types import MappingProxyType

from mutx_service.problem import COMMON_KINDS, Kinds, ProblemKind

KINDS: Kinds = MappingProxyType(
    {
        **COMMON_KINDS,
        "agent-paused": ProblemKind(409, "The agent is paused and takes no new runs"),
        "body-too-large": ProblemKind(413, "The body is larger than the agent takes"),
        "defect": ProblemKind(500, "The agent has a defect"),
        "pause-unwritable": ProblemKind(500, "The pause could not be kept; this process stays paused"),
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
