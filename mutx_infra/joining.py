"""How a host comes into the tailnet: one document, delivered once to one host, and what the host answers.

Minting a key and delivering it is one step. Its result is held by nobody but the mailbox until the host has read it: it
is not returned, not logged, not journalled, and a run that is repeated mints anew. The host deletes the document and
leaves its host key in its place (`playbooks/roles/mutx_join`); from then on the toolkit knows it by that key.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from mutx_infra import naming
from mutx_infra.access import (
    CONVERGE_ACCOUNT,
    TAILNET_INTERFACE,
    HostKey,
    HostTarget,
    tailnet_address,
    tailnet_address6,
)
from mutx_infra.errors import OutsideError, RefusedError
from mutx_infra.ports import Clock

LOOK_EVERY_S = 0.25
_PUBLIC_KEY = r"^ssh-ed25519 [A-Za-z0-9+/]{68}$"
"""What the image's sshd has (`mutx-host-key.service`): 51 bytes in base64."""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TailnetPass(_Document):
    """What takes a host into the tailnet.

    Attributes:
        auth_key: good for one use.
        addresses: with prefix lengths, where the tailnet has fixed addresses; empty where tailscaled is told its own.
        login_server: the coordination server, None for the vendor's.
    """

    auth_key: SecretStr
    interface: str = TAILNET_INTERFACE
    addresses: tuple[str, ...] = ()
    login_server: str | None = None


class JoinDocument(_Document):
    """What one host is told, once.

    Attributes:
        ssh_authorities: public keys whose certificates the host's sshd accepts.
        principals: what a certificate must name to enter as `account`.
        tailnet: None for hosts that stand in the VPC alone.
    """

    version: Literal[1] = 1
    kind: Literal["join"] = "join"
    tenant: str
    host: str
    hostname: str
    account: str = CONVERGE_ACCOUNT
    ssh_authorities: tuple[str, ...]
    principals: tuple[str, ...]
    tailnet: TailnetPass | None

    def reveal(self) -> str:
        """Return the document as the host reads it, with the key in it: for the mailbox alone."""
        content = self.model_dump(mode="json")
        if self.tailnet is not None:
            content["tailnet"]["auth_key"] = self.tailnet.auth_key.get_secret_value()
        return json.dumps(content)


class JoinReport(_Document):
    """What a host leaves when it has joined.

    Attributes:
        instance: the instance that it is.
        host_key: its public key, by which SSH is to know it.
        addresses: its fixed tailnet addresses.
    """

    version: Literal[1] = 1
    kind: Literal["joined"] = "joined"
    tenant: str
    host: str
    instance: str
    host_key: str = Field(pattern=_PUBLIC_KEY)
    addresses: tuple[str, ...] = ()


class JoinMailbox(Protocol):
    """The place that one host and the toolkit share, one for each host; outside every stack."""

    def deliver(self, host: HostTarget, document: JoinDocument) -> None:
        """Put a document there, sealed, in the place of whatever was there."""

    def report(self, host: HostTarget) -> JoinReport | None:
        """Return the host's answer; None where there is none yet. Never opens a sealed document.

        Raises:
            OutsideError: what lies there is neither (code `join-report-invalid`).
        """

    def clear(self, host: HostTarget) -> None:
        """Remove whatever is there."""


class TailnetAdmission(Protocol):
    """Mints what takes a host into the tailnet."""

    def admit(self, host: HostTarget) -> TailnetPass:
        """Return a pass that is good once."""

    def confirm(self, host: HostTarget) -> None:
        """Make sure that a host which says that it has joined is on the tailnet, as itself.

        Raises:
            OutsideError: it is not (code `device-not-seen`).
        """


class KnownHosts(Protocol):
    """The host keys that this toolkit goes by."""

    def read(self, tenant: str) -> dict[str, HostKey]:
        """Return a tenant's host keys by host name."""

    def write(self, tenant: str, keys: dict[str, HostKey]) -> None:
        """Replace them, whole."""


@dataclass(frozen=True, slots=True)
class FixedTailnet:
    """A tailnet whose addresses are fixed by a rule: for networks without a coordination server."""

    network: IPv4Network

    def admit(self, host: HostTarget) -> TailnetPass:
        """Return a pass with the host's addresses; its key is random, and nobody asks for it."""
        address = tailnet_address(host, self.network)
        return TailnetPass(
            auth_key=SecretStr(secrets.token_urlsafe(32)),
            addresses=(f"{address}/{self.network.prefixlen}", f"{tailnet_address6(address)}/48"),
        )

    def confirm(self, host: HostTarget) -> None:
        """Ask nobody: there is no server that knows."""


@dataclass(frozen=True, slots=True)
class Joining:
    """Brings hosts in.

    Attributes:
        authorities: public keys of the SSH authority.
    """

    mailbox: JoinMailbox
    tailnet: TailnetAdmission
    known: KnownHosts
    authorities: tuple[str, ...]
    clock: Clock

    def bring_in(
        self,
        hosts: Sequence[HostTarget],
        within_s: float,
        joined: Callable[[HostTarget], None] = lambda _: None,
    ) -> tuple[HostTarget, ...]:
        """Have every host of a tenant joined and known; returns those that were not known before.

        Hosts that are known are left alone. May be repeated, also after it was cut off at any point.

        Raises:
            OutsideError: some did not join in time, the others are known (code `hosts-not-joined`); or one says that it
                did and the tailnet does not know it (`device-not-seen`).
        """
        missing = [host for host in hosts if not self._is_known(host)]
        for host in missing:
            if self._answer(host) is None:
                self.mailbox.deliver(host, self._document(host))
        waiting = list(missing)
        deadline = self.clock.now().timestamp() + within_s
        while waiting:
            for host in tuple(waiting):
                report = self._answer(host)
                if report is not None:
                    if host.on_tailnet:
                        self.tailnet.confirm(host)
                    self._pin(host, report)
                    waiting.remove(host)
                    joined(host)
            if waiting and self.clock.now().timestamp() > deadline:
                raise _not_joined(waiting, within_s)
            if waiting:
                self.clock.sleep(LOOK_EVERY_S)
        return tuple(missing)

    def forget(self, hosts: Sequence[HostTarget]) -> None:
        """Forget hosts that are gone, so that nothing of theirs is left in the mailbox or taken for known."""
        for host in hosts:
            self.mailbox.clear(host)
            keys = self.known.read(host.tenant)
            if keys.pop(host.name, None) is not None:
                self.known.write(host.tenant, keys)

    def _is_known(self, host: HostTarget) -> bool:
        """A host is its instance: what comes in the place of a replaced one has another key, and joins anew."""
        known = self.known.read(host.tenant).get(host.name)
        return known is not None and known.instance == host.instance

    def _answer(self, host: HostTarget) -> JoinReport | None:
        """Return the answer of this very instance; what an earlier one left is none."""
        report = self.mailbox.report(host)
        return report if report is not None and report.instance == host.instance else None

    def _document(self, host: HostTarget) -> JoinDocument:
        return JoinDocument(
            tenant=host.tenant,
            host=host.key,
            hostname=host.name,
            ssh_authorities=self.authorities,
            principals=(naming.converge_principal(host.tenant),),
            tailnet=self.tailnet.admit(host) if host.on_tailnet else None,
        )

    def _pin(self, host: HostTarget, report: JoinReport) -> None:
        if (report.tenant, report.host) != (host.tenant, host.key):
            raise RefusedError(
                f"the mailbox of {host.name} holds the report of {report.tenant}'s {report.host}",
                code="join-report-foreign",
                remedy="find out who wrote it; then `mutx-infra history list` and the cloud's trail say by which run",
            )
        key = HostKey(instance=report.instance, public=report.host_key)
        self.known.write(host.tenant, {**self.known.read(host.tenant), host.name: key})


def _not_joined(hosts: Sequence[HostTarget], within_s: float) -> OutsideError:
    names = ", ".join(host.name for host in hosts)
    return OutsideError(
        f"{names} did not join within {within_s:.0f} s",
        code="hosts-not-joined",
        remedy="see the unit `mutx-join@…` in the console log of the instance, then run the same command again",
    )
