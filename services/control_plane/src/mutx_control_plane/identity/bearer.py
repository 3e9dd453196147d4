"""Who calls, by `Authorization: Bearer`: the text is tried as a signed token first, then as an API key (AUTH-4).

Whatever is wrong with it, the caller is told `credentials-refused` and no more; a counter is told the reason, and
nobody is shown any of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from mutx_service.problem import Problem

from mutx_control_plane.identity.access_tokens import AccessTokens
from mutx_control_plane.identity.api_keys import ApiKeyDesk
from mutx_control_plane.identity.jose import TokenRefused, looks_signed, parse_token
from mutx_control_plane.identity.ports import Accounts
from mutx_control_plane.identity.provider import Provider
from mutx_control_plane.identity.provider_http import ProviderFailed
from mutx_control_plane.identity.sources import Sources
from mutx_control_plane.principal import Method, Principal

_FORM = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] ([A-Za-z0-9._~+/-]+=*)")
"""RFC 6750, section 2.1; the scheme's name is of no case (RFC 9110, section 11.1)."""


def bearer_text(headers: Sequence[str]) -> str:
    """Return the text of the one `Authorization` header.

    Raises:
        Problem: `credentials-missing` where there is none, `credentials-refused` where it is not one of that form.
    """
    if not headers:
        raise Problem("credentials-missing")
    found = _FORM.fullmatch(headers[0]) if len(headers) == 1 else None
    if found is None:
        raise Problem("credentials-refused")
    return found[1]


class Bearer:
    """Knows callers by what they show.

    Args:
        tokens: our own.
        providers: by issuer, none of which is ours.
        keys: API keys.
        accounts: where people of providers have theirs.
        sources: time.
        note: is told each refusal's reason, one of a few words.
    """

    def __init__(
        self,
        tokens: AccessTokens,
        providers: Collection[Provider],
        keys: ApiKeyDesk,
        accounts: Accounts,
        sources: Sources,
        note: Callable[[str], None],
    ) -> None:
        self._tokens, self._keys, self._accounts = tokens, keys, accounts
        self._sources, self._note = sources, note
        self._providers: Mapping[str, Provider] = {each.settings.issuer: each for each in providers}

    async def principal_of(self, text: str) -> Principal:
        """Return who calls.

        Raises:
            Problem: `credentials-refused`; `provider-unavailable` where a provider's token cannot be checked now.
        """
        try:
            if looks_signed(text):
                return await self._by_token(text)
            return await self._keys.principal_of(text)
        except TokenRefused as refused:
            self._note(refused.reason)
            raise Problem("credentials-refused") from None
        except ProviderFailed:
            self._note("provider")
            raise Problem("provider-unavailable") from None

    async def _by_token(self, text: str) -> Principal:
        token = parse_token(text)
        issuer = token.claims.get("iss")
        if issuer == self._tokens.issuer:
            return self._tokens.verify(token)
        provider = self._providers.get(issuer) if isinstance(issuer, str) else None
        if provider is None:
            raise TokenRefused("issuer")
        account = await self._accounts.ensure_sso(await provider.user_of(token), self._sources.now())
        if not account.is_active:
            raise TokenRefused("account")
        return Principal(account.id, account.tenant, account.roles, Method.SSO_TOKEN)
