"""How hosts reach what lies outside of their network: mgmt directly, all others by the proxy on mgmt. Pure.

A host needs the proxy before it can join (the tailnet's coordination server lies outside), and where its tier has no
interface endpoints also before it can ask what to join by. So the proxy's address is a part of the plan, and the user
data of each host says it; the playbooks keep what the user data began.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from pydantic import BaseModel, ConfigDict

from mutx_infra import naming
from mutx_infra.access import tailnet_roles
from mutx_infra.flows import LAYER_OF, Role
from mutx_infra.hosts import HostPlan
from mutx_infra.plan import TenantPlan

PROXY_PORT = 3128
PROXY_UNIT = "squid.service"
_LINK_LOCAL = "169.254.0.0/16"
"""Instance metadata and time, and in a sandbox AWS and the coordination server."""
_AWS_NAMES = {"aws": ".amazonaws.com", "aws-cn": ".amazonaws.com.cn"}
"""What the names of AWS's services end with, by partition."""


class ProxyClient(BaseModel):
    """A network that may use the proxy.

    Attributes:
        source: its CIDR.
        may_reach: purposes, by the names of the role `squid`.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    may_reach: tuple[str, ...]


def proxy_address(plan: TenantPlan) -> IPv4Address | None:
    """Return where the proxy listens; None in a network without a mgmt host."""
    return next((host.address for host in plan.hosts if host.role is Role.MGMT), None)


def way_out(plan: TenantPlan, role: Role) -> dict[str, str]:
    """Return the environment of programs that leave a host of a role; empty for a host that leaves directly.

    `HTTPS_PROXY` alone: plain HTTP has no way out. `NO_PROXY` names what is reached directly all the same.
    """
    address = proxy_address(plan)
    if address is None or role is Role.MGMT:
        return {}
    direct = [_LINK_LOCAL]
    if plan.endpoints:
        direct.append(_AWS_NAMES.get(naming.partition(plan.region), _AWS_NAMES["aws"]))
    return {"HTTPS_PROXY": f"http://{address}:{PROXY_PORT}", "NO_PROXY": ",".join(direct)}


def user_data(plan: TenantPlan, host: HostPlan) -> str:
    """Return the script that a host runs when it starts for the first time. It holds no secret."""
    units = (PROXY_UNIT,) if host.role is Role.MGMT else ()
    return naming.join_script(plan.tenant, host.key, way_out(plan, host.role), units)


def proxy_clients(plan: TenantPlan) -> tuple[ProxyClient, ...]:
    """Return who may use the proxy, and for what: the areas that the flow table lets in.

    AWS is for those without interface endpoints, the tailnet's coordination for areas with a node of it.
    """
    nodes = tailnet_roles(plan.flows)
    reached: dict[str, set[str]] = {}
    for flow in plan.flows:
        if flow.destination is Role.MGMT and PROXY_PORT in flow.ports and isinstance(flow.source, Role):
            purposes = reached.setdefault(plan.areas[LAYER_OF[flow.source]], {"packages"})
            purposes |= {"tailnet"} if flow.source in nodes else set()
            purposes |= set() if plan.endpoints else {"aws"}
    areas = sorted(reached, key=IPv4Network)
    return tuple(ProxyClient(source=area, may_reach=tuple(sorted(reached[area]))) for area in areas)
