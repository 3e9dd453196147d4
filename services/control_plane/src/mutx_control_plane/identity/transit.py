"""Sealing by the platform Vault's transit engine: the key never leaves the Vault.

The key is a derived one (`derived=true`): what was sealed in one context opens in no other. The Vault's token is read
of its file at each call, as an agent renews it there.
"""

from __future__ import annotations

import base64
import binascii
import ssl
from dataclasses import dataclass
from pathlib import Path

import httpx2
from mutx_service.problem import Problem
from mutx_service.strict_json import Json

from mutx_control_plane.identity.encoding import EncodingError, read_object
from mutx_control_plane.identity.sealing import SealBroken, Sealer

_FORM = "vault:v"
_DEADLINE_S = 5.0
_OK, _REFUSED = 200, 400


@dataclass(frozen=True, slots=True)
class TransitSettings:
    """Where the Vault is, and which key.

    Attributes:
        address: as in `VAULT_ADDR`.
        token_file: holds a token that may encrypt and decrypt with this key, and nothing else.
        mount: of the engine.
        authority: PEM file of the CA that the Vault's certificate comes from; None for the system's.
    """

    address: str
    token_file: Path
    key: str
    mount: str = "transit"
    authority: Path | None = None


class TransitSealer:
    """A sealer that asks the Vault.

    Args:
        settings: where.
        client: reaches the Vault; follows no redirects.
        earlier: opens what was sealed before there was a Vault.
    """

    def __init__(
        self, settings: TransitSettings, client: httpx2.AsyncClient, earlier: Sealer | None = None
    ) -> None:
        self._settings, self._client, self._earlier = settings, client, earlier

    async def seal(self, plain: bytes, context: str) -> str:
        """Return the sealed text, as `vault:vN:BASE64`.

        Raises:
            Problem: `secrets-unavailable`.
        """
        text = await self._ask("encrypt", {"plaintext": _encode(plain), "context": _encode(context.encode())})
        sealed = text.get("ciphertext")
        if not isinstance(sealed, str) or not sealed.startswith(_FORM):
            raise Problem("secrets-unavailable")
        return sealed

    async def open(self, sealed: str, context: str) -> bytes:
        """Return what was sealed in the same context.

        Raises:
            SealBroken: it does not open.
            Problem: `secrets-unavailable`.
        """
        if not sealed.startswith(_FORM):
            if self._earlier is None:
                raise SealBroken("the text is not the Vault's")
            return await self._earlier.open(sealed, context)
        text = await self._ask("decrypt", {"ciphertext": sealed, "context": _encode(context.encode())})
        try:
            return base64.b64decode(str(text.get("plaintext")), validate=True)
        except binascii.Error:
            raise Problem("secrets-unavailable") from None

    def is_current(self, sealed: str) -> bool:
        """Say whether the Vault sealed it; its own key versions it brings up to date itself (`rewrap`)."""
        return sealed.startswith(_FORM)

    async def _ask(self, what: str, body: dict[str, str]) -> dict[str, Json]:
        settings = self._settings
        url = f"{settings.address}/v1/{settings.mount}/{what}/{settings.key}"
        try:
            headers = {"X-Vault-Token": settings.token_file.read_text().strip(), "X-Vault-Request": "true"}
            answer = await self._client.post(url, json=body, headers=headers, timeout=_DEADLINE_S)
            document = read_object(answer.content)
        except (OSError, httpx2.HTTPError, EncodingError):
            raise Problem("secrets-unavailable") from None
        if answer.status_code == _REFUSED and what == "decrypt":
            raise SealBroken("the Vault does not open the text")
        data = document.get("data")
        if answer.status_code != _OK or not isinstance(data, dict):
            raise Problem("secrets-unavailable")
        return data


def make_vault_client(settings: TransitSettings) -> httpx2.AsyncClient:
    """Return a client for `TransitSealer`: no proxy of the environment, no redirects.

    Raises:
        OSError: the authority's file cannot be used.
    """
    authority = None if settings.authority is None else str(settings.authority)
    return httpx2.AsyncClient(verify=ssl.create_default_context(cafile=authority), trust_env=False)


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()
