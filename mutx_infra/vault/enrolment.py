"""Hosts that may log in to a tenant's Vault: looked at, approved and taken out again by the tenant's administrator.

A host's key and request are made on the host; the platform only carries the request. So nothing that a hand-over file
says about a machine is taken for true: its name must follow from tenant and key, and the administrator sees the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mutx_infra import naming
from mutx_infra.errors import RefusedError, UsageError
from mutx_infra.vault.handover import Handover, Machine
from mutx_infra.vault.layout import (
    CERT_AUTH,
    MACHINE,
    MACHINE_PKI,
    SERVICE_PKI,
    issuing_role,
    machine_role,
    signing_role,
)
from mutx_infra.vault.tokens import revoke_tokens
from mutx_infra.vault_ports import SigningRequest, VaultSession

AGENT_ROLE, GUARD_ROLE = "agent", "guard"
REQUEST_KEY = "EC secp256r1"
_KEY = re.compile(r"[a-z](?:[a-z0-9-]{0,40}[a-z0-9])?")
_REVOKED = f"auth/{CERT_AUTH}/crls/machines"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A machine that could be enrolled, with what its request was found to say.

    Attributes:
        is_enrolled: it logs in already.
    """

    machine: Machine
    request: SigningRequest
    is_enrolled: bool


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The machines of one tenant's Vault.

    Attributes:
        read_request: checks a request in PEM and says what it asks for.
        common_name_of: a certificate's in PEM.
    """

    handover: Handover
    session: VaultSession
    read_request: Callable[[str], SigningRequest]
    common_name_of: Callable[[str], str]

    def machine(self, name: str) -> Machine:
        """Return a machine by its host name or its key.

        Raises:
            UsageError: there is none (code `machine-not-handed-over`).
        """
        for machine in self.handover.machines:
            if name in {machine.name, machine.key}:
                return machine
        known = ", ".join(machine.name for machine in self.handover.machines)
        raise UsageError(
            f"{self.handover.tenant} has no machine {name!r}",
            code="machine-not-handed-over",
            remedy=f"name one of the hand-over file: {known or 'it has none; ask the operator for a newer one'}",
        )

    def candidate(self, machine: Machine) -> Candidate:
        """Look at a machine's request.

        Raises:
            RefusedError: there is none yet (code `request-missing`), it is of no use (`request-invalid`), asks for
                another name (`request-name`) or has a key of another kind (`request-key`); or the hand-over says
                about the machine what cannot be (`machine-odd`).
        """
        self._check(machine)
        if machine.request is None:
            raise RefusedError(
                f"{machine.name} has made no request yet",
                code="request-missing",
                remedy="ask the platform's operator to bring the host up, and for the hand-over file anew",
            )
        request = self.read_request(machine.request)
        if request.common_names != (machine.name,):
            raise RefusedError(
                f"the request of {machine.name} asks for {', '.join(request.common_names) or 'no name'}",
                code="request-name",
                remedy="do not enrol it, and ask the platform's operator how that came about",
            )
        if request.key != REQUEST_KEY:
            raise RefusedError(
                f"the request of {machine.name} has a key of kind {request.key}, not {REQUEST_KEY}",
                code="request-key",
                remedy="have the host make a new one with the role `vault_agent`",
            )
        return Candidate(machine, request, self._role(machine.name) is not None)

    def enroll(self, candidate: Candidate, keep: Callable[[str], None], *, again: bool) -> None:
        """Let a machine log in: from its own address alone, as nobody else.

        Args:
            candidate: as an administrator approved it.
            keep: takes its certificate, before the Vault takes it.
            again: replace an enrolment on purpose: whatever was signed for this name before is revoked.

        Raises:
            RefusedError: it is enrolled, and `again` is not set (code `machine-enrolled`).
        """
        machine = candidate.machine
        if self._role(machine.name) is not None:
            if not again:
                raise RefusedError(
                    f"{machine.name} is enrolled already",
                    code="machine-enrolled",
                    remedy="where its key is to be another one, replace the enrolment on purpose with `--again`",
                )
            self._end_login(machine.name)
        self.session.write(f"{MACHINE_PKI}/roles/{machine.name}", signing_role(machine.name))
        self.session.write(f"{SERVICE_PKI}/roles/{machine.name}", issuing_role(machine.name))
        self._identify(machine)
        signed = self.session.write(
            f"{MACHINE_PKI}/sign/{machine.name}", {"csr": machine.request, "common_name": machine.name}
        )
        keep(f"{str(signed['certificate']).strip()}\n")
        # Last: from here on it logs in, and a run that was killed before is simply done again.
        self.session.write(f"auth/{CERT_AUTH}/certs/{machine.name}", self._login(machine))

    def revoke(self, name: str) -> int:
        """Take a machine out, by its host name or key: it logs in no more, now or by a certificate of its past.

        Returns the number of tokens that were ended.

        Raises:
            RefusedError: no such machine is enrolled (code `machine-not-enrolled`).
        """
        # By its name also where a newer hand-over file does not have it any more.
        name = next((each.name for each in self.handover.machines if each.key == name), name)
        role = self._role(name)
        is_known = self.session.read(f"identity/entity/name/{name}") is not None
        if (role is not None and MACHINE not in (role["token_policies"] or ())) or not (role or is_known):
            raise RefusedError(
                f"no machine {name!r} is enrolled",
                code="machine-not-enrolled",
                remedy="name a host as it was enrolled, e.g. acme-agent-1",
            )
        ended = self._end_login(name)
        self.session.delete(f"identity/entity/name/{name}")
        for engine in (MACHINE_PKI, SERVICE_PKI):
            self.session.delete(f"{engine}/roles/{name}")
        return ended

    def _check(self, machine: Machine) -> None:
        tenant, others = self.handover.tenant, [m for m in self.handover.machines if m is not machine]
        why = ""
        if _KEY.fullmatch(machine.key) is None:
            why = f"{machine.key!r} is no name of a host"
        elif machine.name != naming.host_name(tenant, machine.key):
            why = f"{machine.key} of {tenant} cannot be called so"
        elif any(machine.key == each.key or machine.address == each.address for each in others):
            why = "another machine has its name or its address"
        if why:
            raise RefusedError(
                f"the hand-over file is wrong about {machine.name}: {why}",
                code="machine-odd",
                remedy="do not enrol it, and ask the platform's operator for the hand-over file anew",
            )

    def _role(self, name: str) -> Any:  # noqa: ANN401 - what the API answers
        return self.session.read(f"auth/{CERT_AUTH}/certs/{name}")

    def _login(self, machine: Machine) -> dict[str, Any]:
        role = machine_role(machine.name, str(machine.address), is_agent=machine.role == AGENT_ROLE)
        authority = (self.session.read(f"{MACHINE_PKI}/cert/ca") or {})["certificate"]
        return replace(role, authority=str(authority)).settings()

    def _identify(self, machine: Machine) -> None:
        """Make who it is: what its policies' templates are filled with."""
        path = f"identity/entity/name/{machine.name}"
        agent = {"agent_id": machine.key} if machine.role == AGENT_ROLE else {}
        self.session.write(path, {"metadata": {"host": machine.name, **agent}, "policies": []})
        entity = self.session.read(path) or {}
        accessor = (self.session.read("sys/auth") or {})[f"{CERT_AUTH}/"]["accessor"]
        alias = {"name": machine.name, "canonical_id": entity["id"], "mount_accessor": accessor}
        self.session.write("identity/entity-alias", alias)

    def _end_login(self, name: str) -> int:
        self.session.delete(f"auth/{CERT_AUTH}/certs/{name}")
        ended = revoke_tokens(self.session, name)
        self._revoke_certificates(name)
        return ended

    def _revoke_certificates(self, name: str) -> None:
        """Revoke what was signed for a name: else it would be good again once a host of that name is enrolled."""
        is_changed = False
        for serial in self.session.list(f"{MACHINE_PKI}/certs"):
            found = self.session.read(f"{MACHINE_PKI}/cert/{serial}") or {}
            if not found.get("revocation_time") and self.common_name_of(str(found["certificate"])) == name:
                self.session.write(f"{MACHINE_PKI}/revoke", {"serial_number": serial})
                is_changed = True
        if is_changed or self.session.read(_REVOKED) is None:
            listed = (self.session.read(f"{MACHINE_PKI}/cert/crl") or {})["certificate"]
            self.session.write(_REVOKED, {"crl": listed})


def choose(enrolment: Enrolment, names: Sequence[str], *, every: bool) -> tuple[Candidate, ...]:
    """Return the candidates that were named; or all that have made a request and are not enrolled yet.

    Raises:
        UsageError: neither was asked for, or both (code `machines-which`).
    """
    if bool(names) == every:
        raise UsageError(
            "name the hosts to enrol, or give `--all`",
            code="machines-which",
            remedy="e.g. `mutx-infra vault enroll acme acme-agent-1`",
        )
    if names:
        return tuple(enrolment.candidate(enrolment.machine(name)) for name in names)
    asking = (m for m in enrolment.handover.machines if m.request is not None)
    return tuple(each for each in map(enrolment.candidate, asking) if not each.is_enrolled)
