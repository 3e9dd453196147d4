"""The tenant program: one plan in, the whole tenant out. `pulumi up` and the toolkit run this function."""

from __future__ import annotations

from mutx_infra.stacks.components.foundation import build_foundation

from mutx_infra.plan import TenantPlan


def build(plan: TenantPlan) -> None:
    """Register every resource of a tenant; the exports are those of `build_foundation`."""
    build_foundation(plan)
