"""What a provider's verified claims make of a person: a tenant and roles, by the deployment's map and nothing else.

A value that no rule names grants nothing, whatever it is called: a group `admin` is one of the provider's groups. A
claim of another type than a text or a list of texts says nothing. The answer of a userinfo endpoint is never read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mutx_service.strict_json import Json

from mutx_control_plane.identity.jose import TokenRefused
from mutx_control_plane.identity.validity import subject_of
from mutx_control_plane.principal import SSOTokenUser
from mutx_control_plane.roles import Role

CLAIMS = (
    "roles",
    "groups",
    "realm_access.roles",
    "resource_access.roles",
    "resource_access.*.roles",
    "hd",
    "email",
)
"""Where roles may stand (AUTH-3). A rule names one of these, or one client's `resource_access.CLIENT.roles`.

Google has neither roles nor groups: there a rule names the person's domain (`hd`), or an e-mail address, which counts
only where the provider verified it.
"""

_ONE_CLIENT = re.compile(r"resource_access\.(.+)\.roles")
_EMAIL = re.compile(r"[!-?A-~]{1,64}@[A-Za-z0-9.-]{1,189}")
"""ASCII alone: letters of other scripts fold to the same ones, as `ß` to `ss`, and mailboxes are not the same."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What one value of one claim grants: one role in one tenant.

    Attributes:
        claim: one of `CLAIMS`, or `resource_access.CLIENT.roles`.
        value: compared character by character; an e-mail address is written in lower case.
    """

    claim: str
    value: str
    tenant: str
    role: Role

    def __post_init__(self) -> None:
        """Refuse what could never be met, or always: the rule would silently not mean what it says.

        Raises:
            ValueError: the claim is never looked at, or the value is empty.
        """
        if not self.value:
            raise ValueError("an empty value names nobody")
        if self.claim not in CLAIMS and not _ONE_CLIENT.fullmatch(self.claim):
            raise ValueError(f"{self.claim[:60]!r} is no claim that roles are read of")


def read_user(claims: Mapping[str, Json], rules: Sequence[Rule], *others: Mapping[str, Json]) -> SSOTokenUser:
    """Return whom verified claims name.

    Args:
        claims: who it is, and what roles they have.
        rules: the deployment's map.
        others: verified claims about the same person, for their roles alone.

    Raises:
        TokenRefused: `unmapped` where no rule grants anything, `many-tenants` where rules of several tenants do: an
            account is of one.
    """
    whole = (claims, *others)
    granted = [rule for rule in rules if any(rule.value in _values(each, rule.claim) for each in whole)]
    tenants = {rule.tenant for rule in granted}
    if not tenants:
        raise TokenRefused("unmapped")
    if len(tenants) > 1:
        raise TokenRefused("many-tenants")
    return SSOTokenUser(
        issuer=str(claims.get("iss")),
        subject=subject_of(claims),
        tenant=tenants.pop(),
        roles=frozenset(rule.role for rule in granted),
        email=read_email(claims),
    )


def read_email(claims: Mapping[str, Json]) -> str:
    """Return the e-mail address that the provider says it verified, folded; else an empty text."""
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str):
        return ""
    return email.lower() if _EMAIL.fullmatch(email) else ""


def _values(claims: Mapping[str, Json], claim: str) -> Iterator[str]:
    if claim == "email":
        yield read_email(claims)
    elif claim == "resource_access.*.roles":
        clients = claims.get("resource_access")
        for client in clients.values() if isinstance(clients, dict) else ():
            yield from _texts(_member(client, "roles"))
    elif claim in CLAIMS:
        value: Json = dict(claims)
        for name in claim.split("."):
            value = _member(value, name)
        yield from _texts(value)
    elif one := _ONE_CLIENT.fullmatch(claim):
        yield from _texts(_member(_member(claims.get("resource_access"), one[1]), "roles"))


def _member(value: Json, name: str) -> Json:
    return value.get(name) if isinstance(value, dict) else None


def _texts(value: Json) -> Iterator[str]:
    """Give the texts of a claim; one other thing in its list makes the whole say nothing."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and all(isinstance(each, str) for each in value):
        yield from (str(each) for each in value)
