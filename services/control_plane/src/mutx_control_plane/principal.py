"""Who calls, once it is proven: a person by a token or a key, within one tenant."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from mutx_control_plane.roles import Role, Scope

PLATFORM = "platform"
"""The tenant of those who run the control plane. It owns no agents, and sees no other tenant's."""


class Method(StrEnum):
    """How a caller proved who they are."""

    ACCESS_TOKEN = "access-token"  # noqa: S105 - a name, no secret
    """A JWT of our own, of 15 minutes."""
    SSO_TOKEN = "sso-token"  # noqa: S105 - a name, no secret
    """A JWT of an identity provider that the deployment names."""
    API_KEY = "api-key"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller.

    Attributes:
        user: the account's id.
        tenant: the one tenant that the account belongs to, or `PLATFORM`.
        roles: within that tenant.
        method: how it was proven.
        scopes: an API key's; every scope for a token, whose roles alone bound it.
        key: the API key's id.
        family: the session that an access token came of.
    """

    user: UUID
    tenant: str
    roles: frozenset[Role]
    method: Method
    scopes: frozenset[Scope] = frozenset({Scope.ADMIN})
    key: UUID | None = None
    family: UUID | None = None


@dataclass(frozen=True, slots=True)
class SSOTokenUser:
    """What an identity provider's verified token says of a person, after the deployment's map.

    Attributes:
        issuer: as the token's `iss`, which is the provider's own.
        subject: the provider's id of the person; with the issuer it is the only one that names them.
        tenant: by the map; the token cannot choose one.
        roles: by the map; a claim that the map does not name grants nothing.
        email: only where the provider says that it verified it, else empty. It identifies nobody.
    """

    issuer: str
    subject: str
    tenant: str
    roles: frozenset[Role]
    email: str = ""
