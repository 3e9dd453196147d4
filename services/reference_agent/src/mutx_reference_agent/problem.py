"""The codes of the agent's refusals and failures (docs/reference/agent-contract.md)."""

from __future__ import annotations

from types import MappingProxyType

from mutx_service.problem import AGENT_KINDS, COMMON_KINDS, Kinds, ProblemKind

KINDS: Kinds = MappingProxyType(
    {
        **COMMON_KINDS,
        **AGENT_KINDS,
        "body-too-large": ProblemKind(413, "The body is larger than the agent takes"),
        "defect": ProblemKind(500, "The agent has a defect"),
        "pause-unwritable": ProblemKind(500, "The pause could not be kept; this process stays paused"),
    }
)
