"""What the templates and checks of the role need to say of rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any


def ufw_hex(text: str) -> str:
    """Return a comment as ufw writes it into its files."""
    return text.encode("utf-8").hex()


def ufw_admits(rules: Iterable[Mapping[str, Any]], login: Mapping[str, Any]) -> bool:
    """Say whether rules admit the connection by which the operator came.

    A connection that did not come by SSH (a console, a container's shell) passes no firewall.
    """
    if not login.get("port"):
        return True
    return any(_matches(rule, login) for rule in rules)


def _matches(rule: Mapping[str, Any], login: Mapping[str, Any]) -> bool:
    if (rule["protocol"], int(rule["port"])) != ("tcp", int(login["port"])):
        return False
    if rule.get("interface") and rule["interface"] != login["interface"]:
        return False
    return not rule.get("source") or ip_address(login["address"]) in ip_network(rule["source"], strict=False)


class FilterModule:
    """The filters of this role, as Ansible looks for them."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return filters by name."""
        return {"ufw_hex": ufw_hex, "ufw_admits": ufw_admits}
