"""All resource types by token. A new one is a `ResourceType` in a `table_*` module, listed in its `TYPES`."""

from __future__ import annotations

from mutx_sandbox.aws import (
    table_acls,
    table_buckets,
    table_firewall,
    table_hosts,
    table_identity,
    table_keys,
    table_logs,
    table_routing,
    table_vpc,
)
from mutx_sandbox.aws.resource import ResourceType

TABLE: dict[str, ResourceType] = {
    kind.name: kind
    for module in (
        table_vpc,
        table_routing,
        table_firewall,
        table_acls,
        table_logs,
        table_identity,
        table_keys,
        table_hosts,
        table_buckets,
    )
    for kind in module.TYPES
}
