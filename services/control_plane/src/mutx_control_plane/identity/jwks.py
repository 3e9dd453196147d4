"""A provider's keys (RFC 7517): which of a published set are taken, and a cache of them.

Neither rotation, nor an outage, nor a flood of unknown `kid`s upsets the cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from mutx_service.journal import write_event
from mutx_service.strict_json import Json

from mutx_control_plane.identity.encoding import EncodingError, decode_base64url
from mutx_control_plane.identity.jose import ALGORITHMS, PublicKey, VerifyingKey
from mutx_control_plane.identity.provider_http import ProviderFailed

MOST_KEYS = 64
SMALLEST_RSA_BITS, LARGEST_RSA_BITS = 2048, 8192
_MEMBERS: Mapping[str, tuple[str, ...]] = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_COORDINATE_BYTES = {"P-256": 32, "P-384": 48, "P-521": 66, "Ed25519": 32}
_LONGEST_KID = 256

Fetch = Callable[[], Awaitable[Mapping[str, Json]]]
"""Gets the set's document; raises ProviderFailed."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old keys may be, in seconds.

    Attributes:
        fresh_s: they are got anew after that, while the old ones serve.
        kept_s: the last good ones serve that long when the provider cannot be reached.
        interval_s: between two tries, whoever asks and for whatever `kid`.
    """

    fresh_s: float = 600.0
    kept_s: float = 86_400.0
    interval_s: float = 30.0


def read_key_set(document: Mapping[str, Json], algorithms: Collection[str]) -> list[VerifyingKey]:
    """Return the keys that may check a signature; others of the set, as Keycloak's for encryption, are left out.

    Two keys of one `kid` are both kept: each is tried.

    Raises:
        ProviderFailed: it is no set, or none of its keys is of use.
    """
    entries = document.get("keys")
    if not isinstance(entries, list) or len(entries) > MOST_KEYS:
        raise ProviderFailed("the provider's keys are no key set")
    found = [key for entry in entries if (key := _read_key(entry, algorithms)) is not None]
    if not found:
        raise ProviderFailed("the provider publishes no key of use")
    return found


class KeyCache:
    """A provider's keys as they were last seen. For one event loop.

    Args:
        fetch: gets the set.
        algorithms: what the provider may sign with.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        fetch: Fetch,
        algorithms: Collection[str],
        clock: Callable[[], float],
        freshness: Freshness | None = None,
    ) -> None:
        self._fetch, self._algorithms, self._clock = fetch, algorithms, clock
        self._freshness = freshness or Freshness()
        self._keys: list[VerifyingKey] = []
        self._got = self._tried = float("-inf")
        self._flight: asyncio.Task[None] | None = None

    async def keys_for(self, kid: str, algorithm: str) -> list[VerifyingKey]:
        """Return the keys that a token of this `kid` may be signed with; without a `kid`, the only one that suits.

        A `kid` that is not known makes one call to the provider at most, and none within the interval.

        Raises:
            ProviderFailed: there are no keys at all, or too old ones.
        """
        found = self._known(kid, algorithm)
        if not found:
            await self._refresh()
            found = self._known(kid, algorithm)
        elif self._age() >= self._freshness.fresh_s:
            # What is known serves on: nobody waits for a provider that may be down.
            self._start()
        if not self._keys or self._age() >= self._freshness.kept_s:
            raise ProviderFailed("there are no keys of the provider")
        return found

    def _known(self, kid: str, algorithm: str) -> list[VerifyingKey]:
        if self._age() >= self._freshness.kept_s:
            return []
        suiting = [key for key in self._keys if key.suits(algorithm)]
        if kid:
            return [key for key in suiting if key.kid == kid]
        return suiting if len(suiting) == 1 else []

    def _age(self) -> float:
        return self._clock() - self._got

    async def _refresh(self) -> None:
        flight = self._start()
        if flight is not None:
            # A caller who goes away does not end it for the others.
            await asyncio.shield(flight)

    def _start(self) -> asyncio.Task[None] | None:
        if self._flight is None and self._clock() - self._tried >= self._freshness.interval_s:
            self._tried = self._clock()
            self._flight = asyncio.get_running_loop().create_task(self._fly())
        return self._flight

    async def _fly(self) -> None:
        try:
            self._keys = read_key_set(await self._fetch(), self._algorithms)
            self._got = self._clock()
        except ProviderFailed as failed:
            write_event("provider-keys-not-got", {"reason": str(failed), "keys": len(self._keys)})
        finally:
            self._flight = None


def _read_key(entry: Json, algorithms: Collection[str]) -> VerifyingKey | None:
    """Return a key of a set, or None where it may check no signature. A private part makes it of no use, too."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or "d" in entry or "k" in entry:
        return None
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    kid, algorithm = entry.get("kid", ""), entry.get("alg", "")
    if not isinstance(kid, str) or len(kid) > _LONGEST_KID or not isinstance(algorithm, str):
        return None
    if algorithm and (algorithm not in algorithms or algorithm not in ALGORITHMS):
        return None
    try:
        key = VerifyingKey(kid, algorithm, _read_public(entry))
    except (EncodingError, JoseError, ValueError):
        return None
    return key if any(key.suits(each) for each in algorithms) else None


def _read_public(entry: Mapping[str, Json]) -> PublicKey:
    kind = entry.get("kty")
    names = _MEMBERS.get(kind, ()) if isinstance(kind, str) else ()
    members = {name: str(value) for name in names if isinstance(value := entry.get(name), str)}
    if not names or len(members) != len(names):
        raise EncodingError("is no key that is known")
    sizes = {name: len(decode_base64url(value)) for name, value in members.items() if name != "crv"}
    if kind == "RSA":
        return _read_rsa(members)
    if set(sizes.values()) != {_COORDINATE_BYTES.get(members["crv"], 0)}:
        raise EncodingError("has coordinates of another size")
    if kind == "EC":
        ec = ECKey.import_key({"kty": "EC", **members})
        ec.raw_value  # noqa: B018 - here a point off its curve is found out
        return ec
    okp = OKPKey.import_key({"kty": "OKP", **members})
    okp.raw_value  # noqa: B018 - as above
    return okp


def _read_rsa(members: dict[str, str]) -> RSAKey:
    modulus, exponent = (int.from_bytes(decode_base64url(members[name])) for name in ("n", "e"))
    if not SMALLEST_RSA_BITS <= modulus.bit_length() <= LARGEST_RSA_BITS:
        raise EncodingError("is too small or too large")
    if modulus % 2 == 0 or exponent % 2 == 0 or not 3 <= exponent < 1 << 32:  # noqa: PLR2004 - RSA's smallest
        raise EncodingError("has a modulus or exponent that no RSA key has")
    rsa = RSAKey.import_key({"kty": "RSA", **members})
    rsa.raw_value  # noqa: B018 - as for EC
    return rsa
