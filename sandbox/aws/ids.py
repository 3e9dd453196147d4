"""Identifiers that AWS does not give: Terraform's for routes and ACL entries, and the memory of what was made."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from zlib import crc32

_REMEMBERED = 65_536


def route_id(table: str, destination: str) -> str:
    """Return Terraform's id of a route: `r-` + table + CRC-32 of the destination.

    Source: terraform-provider-aws, internal/service/ec2/vpc_route_table.go, `routeCreateID`.
    """
    return f"r-{table}{crc32(destination.encode())}"


def acl_rule_id(acl: str, number: int, *, egress: bool, protocol: str) -> str:
    """Return Terraform's id of an ACL entry: `nacl-` + CRC-32 of `acl-number-egress-protocol-`.

    Source: terraform-provider-aws, internal/service/ec2/vpc_network_acl_rule.go.
    """
    key = f"{acl}-{number}-{str(egress).lower()}-{protocol}-"
    return f"nacl-{crc32(key.encode())}"


class Made:
    """Remembers which ids this process created, and lets equal creations pass one at a time.

    A creation whose answer was lost looks for its resource before it tries again. What looks the same but was
    handed to another resource must not be taken: those ids are remembered here (the newest 65,536).
    """

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._guard = Lock()
        self._waiting: dict[str, tuple[Lock, int]] = {}

    def add(self, identifier: str) -> None:
        """Remember an id as handed out."""
        with self._guard:
            self._ids[identifier] = None
            while len(self._ids) > _REMEMBERED:
                self._ids.popitem(last=False)

    def knows(self, identifier: str) -> bool:
        """Say whether an id was handed out by this process."""
        with self._guard:
            return identifier in self._ids

    @contextmanager
    def alone(self, request: str) -> Iterator[None]:
        """Hold off other creations with the same request until this one is settled."""
        with self._guard:
            lock, count = self._waiting.get(request, (Lock(), 0))
            self._waiting[request] = (lock, count + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, count = self._waiting[request]
                if count == 1:
                    del self._waiting[request]
                else:
                    self._waiting[request] = (lock, count - 1)
