"""The hand-over file: where the Vault is, by what it is known, and which hosts may log in to it. It holds no secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from cryptography import x509

from mutx_vault_verify.certificate import read_all, read_one
from mutx_vault_verify.document import parse, shown
from mutx_vault_verify.problem import InputProblem

_FIELDS = frozenset({
    "version", "kind", "tenant", "url", "server_name", "authority", "admin_ca", "seal", "sealed_by", "release",
    "digests", "machines", "product", "platform_ca",
})  # fmt: skip
_OPTIONAL = frozenset({"server_name", "machines", "version", "kind", "sealed_by", "product", "platform_ca"})
_MACHINE_FIELDS = frozenset({"name", "key", "role", "address", "request"})
_OPENBAO = "openbao"
"""What a file that names no server is of."""
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HOST = re.compile(r"[a-z0-9][a-z0-9.-]{0,252}")
_URL = re.compile(r"https://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Machine:
    """A host that may log in once an administrator has enrolled it.

    Attributes:
        key: unique in its tenant, e.g. `agent-1`.
        address: from where alone its tokens are good.
    """

    name: str
    key: str
    role: str
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class Handover:
    """What the platform's operator says of a tenant's Vault.

    Attributes:
        authority: PEM of the authorities that its nodes' certificates are known by.
        admin_ca: the tenant's own authority.
        sealed_by: the key that seals it, as the operator says: no Vault does.
        digests: of each policy and role, as the operator's `vault init` printed them.
        product: which server it is, as the manifest calls it.
    """

    tenant: str
    url: str
    server_name: str | None
    authority: str
    admin_ca: x509.Certificate
    seal: str
    sealed_by: str
    release: str
    digests: Mapping[str, str]
    machines: tuple[Machine, ...]
    product: str

    @property
    def authorities(self) -> list[x509.Certificate]:
        """What the nodes' certificates are known by."""
        return read_all(self.authority)


def parse_handover(text: str, where: str) -> Handover:
    """Read a hand-over file.

    Raises:
        InputProblem: it is something else (`handover-invalid`).
    """
    try:
        return _handover(_object(parse(text), "the file"))
    except ValueError as error:
        raise InputProblem(
            f"{where} is no hand-over file: {error}",
            code="handover-invalid",
            remedy="ask the platform's operator for it anew; if it comes from a newer release, install that release's "
            "mutx-vault-verify",
        ) from None


def _handover(data: Mapping[str, Any]) -> Handover:
    _only(data, _FIELDS, _OPTIONAL)
    if data.get("version", 1) != 1 or data.get("kind", "vault-handover") != "vault-handover":
        raise ValueError("it is of another kind or version")
    machines = tuple(_machine(each) for each in _list(data.get("machines", []), "machines"))
    if len({m.name for m in machines}) != len(machines) or len({m.key for m in machines}) != len(machines):
        raise ValueError("it names a machine twice")
    authority = _text(data, "authority")
    read_all(authority)
    name = data.get("server_name")
    return Handover(
        tenant=_matching(data, "tenant", _LABEL),
        url=_matching(data, "url", _URL),
        server_name=None if name is None else _matching(data, "server_name", _HOST),
        authority=authority,
        admin_ca=read_one(_text(data, "admin_ca")),
        seal=_matching(data, "seal", _LABEL),
        sealed_by=_sealed_by(data.get("sealed_by")),
        release=_text(data, "release"),
        digests=_digests(_object(data["digests"], "digests")),
        machines=machines,
        product=_matching({"product": _OPENBAO, **data}, "product", _LABEL),
    )


def _sealed_by(data: object) -> str:
    """Return the names of the key's place, without the certificate beside them."""
    if data is None:
        return ""
    return ", ".join(f"{name} {value}" for name, value in _object(data, "sealed_by").items() if name != "ca")


def _machine(data: object) -> Machine:
    made = _object(data, "a machine")
    _only(made, _MACHINE_FIELDS, frozenset({"request"}))
    return Machine(
        name=_matching(made, "name", _LABEL),
        key=_matching(made, "key", _LABEL),
        role=_matching(made, "role", _LABEL),
        address=IPv4Address(_text(made, "address")),
    )


def _digests(data: Mapping[str, Any]) -> dict[str, str]:
    return {name: _matching(data, name, _DIGEST) for name in data}


def _only(data: Mapping[str, Any], known: frozenset[str], optional: frozenset[str]) -> None:
    if unknown := set(data) - known:
        raise ValueError(f"{shown(min(unknown))} is not known")
    if missing := known - optional - set(data):
        raise ValueError(f"{min(missing)} is missing")


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no object")  # noqa: TRY004 - one kind of error for one kind of cause
    return value


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{what} is no list")  # noqa: TRY004
    return value


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{shown(name)} is no text")  # noqa: TRY004
    return value


def _matching(data: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = _text(data, name)
    if not pattern.fullmatch(value):
        raise ValueError(f"{shown(name)} is {shown(value)}")
    return value
