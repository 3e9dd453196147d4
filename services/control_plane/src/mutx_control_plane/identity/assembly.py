"""Everything that proves who somebody is, made of the settings and what keeps accounts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx2
from mutx_service.settings import SettingsError

from mutx_control_plane.identity.access_tokens import AccessTokens
from mutx_control_plane.identity.api_keys import ApiKeyDesk
from mutx_control_plane.identity.bearer import Bearer
from mutx_control_plane.identity.oidc import CodeFlow
from mutx_control_plane.identity.passwords import Hasher, PasswordDesk
from mutx_control_plane.identity.ports import Accounts, ApiKeys, Family, Sessions, SetupLinks
from mutx_control_plane.identity.provider import Provider
from mutx_control_plane.identity.provider_http import ProviderHttp
from mutx_control_plane.identity.sealing import AesSealer, Sealer
from mutx_control_plane.identity.secret_keys import SecretKeys
from mutx_control_plane.identity.sessions import SessionDesk
from mutx_control_plane.identity.settings import IdentitySettings, keep_secrets
from mutx_control_plane.identity.signing import KeyFolder, KeyRing, ensure_key
from mutx_control_plane.identity.sources import Sources
from mutx_control_plane.identity.throttle import Throttle
from mutx_control_plane.identity.transit import TransitSealer, TransitSettings, make_vault_client

CALLBACK = "/v1/auth/callback"
"""With the provider's name behind it: each has an address of its own, so that none answers in another's place."""


@dataclass(frozen=True, slots=True)
class Stores:
    """What keeps accounts, sessions and keys."""

    accounts: Accounts
    links: SetupLinks
    sessions: Sessions
    api_keys: ApiKeys


@dataclass(frozen=True, slots=True)
class Witness:
    """Who is told of what the audit and the counters want to know.

    Attributes:
        refused: each refusal's reason, one of a few words.
        reused: a family that ended because an old refresh token came.
    """

    refused: Callable[[str], None]
    reused: Callable[[Family], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Identity:
    """What routes ask.

    Attributes:
        key_ring: what `/.well-known/jwks.json` answers of.
        flows: sign-ins by the provider's name.
    """

    bearer: Bearer
    tokens: AccessTokens
    key_ring: Callable[[], KeyRing]
    sessions: SessionDesk
    api_keys: ApiKeyDesk
    passwords: PasswordDesk
    flows: Mapping[str, CodeFlow]
    throttle: Throttle
    hasher: Hasher
    http: ProviderHttp
    vault: httpx2.AsyncClient | None

    async def close(self) -> None:
        """Close what is open."""
        self.hasher.close()
        await self.throttle.close()
        await self.http.close()
        if self.vault is not None:
            await self.vault.aclose()


def open_identity(
    settings: IdentitySettings,
    state: Path,
    stores: Stores,
    witness: Witness,
    http: ProviderHttp,
    *,
    sources: Sources | None = None,
    hasher: Hasher | None = None,
) -> Identity:
    """Return identity as it serves. For one event loop.

    Args:
        settings: of the environment.
        state: a directory that outlives restarts, for secrets and signing keys where none are set.
        stores: what keeps things.
        witness: who is told.
        http: calls providers.
        sources: time, ids, randomness; the system's.
        hasher: hashes passwords; the usual cost.

    Raises:
        SettingsError: the kept secrets, or the Vault's authority, cannot be used.
        SigningKeyError: the signing keys cannot be used.
    """
    sources, hasher = sources or Sources(), hasher or Hasher()
    secrets = settings.secrets or keep_secrets(state, sources.random_bytes)
    folder = settings.signing_keys or ensure_key(state / "signing-keys", sources.now())
    ring = KeyFolder(folder, sources.clock).current
    tokens = AccessTokens(ring, settings.public_url, sources)
    vault = _open_vault(settings.vault) if settings.vault else None
    sealer: Sealer = AesSealer(secrets, sources.random_bytes)
    if settings.vault and vault:
        sealer = TransitSealer(settings.vault, vault, earlier=sealer)
    api_keys = ApiKeyDesk(stores.api_keys, secrets, sealer, sources)
    providers = [Provider(each, http, sources) for each in settings.providers]
    return Identity(
        bearer=Bearer(tokens, providers, api_keys, stores.accounts, sources, witness.refused),
        tokens=tokens,
        key_ring=ring,
        sessions=SessionDesk(stores.sessions, tokens, secrets, sources, witness.reused, settings.session),
        api_keys=api_keys,
        passwords=PasswordDesk(stores.accounts, stores.links, hasher, sources),
        flows=_flows(settings, providers, secrets, sources, witness.refused),
        throttle=Throttle(settings.rate, settings.redis_url.get_secret_value(), sources.clock),
        hasher=hasher,
        http=http,
        vault=vault,
    )


def _open_vault(settings: TransitSettings) -> httpx2.AsyncClient:
    try:
        return make_vault_client(settings)
    except OSError:
        raise SettingsError("VAULT_CACERT", "holds no certificate that can be used", "use PEM") from None


def _flows(
    settings: IdentitySettings,
    providers: list[Provider],
    secrets: SecretKeys,
    sources: Sources,
    refused: Callable[[str], None],
) -> dict[str, CodeFlow]:
    found = {}
    for provider in providers:
        name = provider.settings.name
        back = f"{settings.public_url}{CALLBACK}/{name}"
        found[name] = CodeFlow(provider, secrets, back, sources, refused)
    return found
