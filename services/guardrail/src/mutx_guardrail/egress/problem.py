"""The codes of the egress's refusals, for tunnels; a judged call is refused in its provider's own form."""

from __future__ import annotations

from types import MappingProxyType

from mutx_service.problem import COMMON_KINDS, Kinds, ProblemKind

KINDS: Kinds = MappingProxyType(
    {
        **COMMON_KINDS,
        "target-invalid": ProblemKind(400, "The target is not HOST:PORT"),
        "target-refused": ProblemKind(403, "The agent may not go there"),
        "address-refused": ProblemKind(403, "The name leads to an address that is not public"),
        "head-slow": ProblemKind(408, "The request's head did not arrive in time"),
        "egress-busy": ProblemKind(503, "The egress has as many connections as it takes", 1),
        "egress-stopping": ProblemKind(503, "The egress is stopping", 5),
        "not-logged": ProblemKind(503, "The call cannot be logged, and so is not made", 5),
        "target-unknown": ProblemKind(502, "The name could not be resolved"),
        "target-unreachable": ProblemKind(502, "The target could not be reached"),
        "target-slow": ProblemKind(504, "The target did not answer in time"),
    }
)
