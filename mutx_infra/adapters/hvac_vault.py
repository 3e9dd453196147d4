"""`TenantVault` by hvac: one Vault, known by its own authority and no other."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

import hvac
import requests
from hvac import exceptions as refusals
from pydantic import SecretStr
from requests.adapters import HTTPAdapter
from urllib3 import ProxyManager
from urllib3.util.retry import Retry

from mutx_infra.errors import MutxInfraError, OutsideError, RefusedError, SettingsError
from mutx_infra.vault.layout import CERT_AUTH
from mutx_infra.vault_ports import ClientCertificate, Health, VaultAddress

TIMEOUT_S = 15.0
_HEALTH = "/v1/sys/health?standbyok=true&sealedcode=200&uninitcode=200&perfstandbyok=true"
_NOT_VERIFIED = "failed to verify client's certificate"
T = TypeVar("T")


class HvacVault:
    """One tenant's Vault.

    Args:
        address: where it is.
        timeout_s: for one request.
    """

    def __init__(self, address: VaultAddress, timeout_s: float = TIMEOUT_S) -> None:
        self._address, self._timeout_s = address, timeout_s

    def health(self) -> Health:
        """Return what it says of itself to anybody."""
        client = self._client(None)
        said = _translated(self._address.url, lambda: client.adapter.get(_HEALTH))
        seal = _translated(self._address.url, lambda: client.adapter.get("/v1/sys/seal-status"))
        return Health(
            is_initialized=bool(said["initialized"]),
            is_sealed=bool(said["sealed"]),
            is_standby=bool(said["standby"]),
            seal=str(seal["type"]),
            version=str(said["version"]),
        )

    def open_read(self, path: str) -> Mapping[str, Any] | None:
        """Read what it shows to anybody."""
        client = self._client(None)
        return _translated(self._address.url, lambda: _data(client.read(path)))

    def unknown(self) -> HvacSession:
        """Return it as somebody sees it who has not logged in."""
        return HvacSession(self._client(None), self._address.url)

    def login(self, shown: ClientCertificate, role: str) -> HvacSession:
        """Log in by a client certificate, as a role, or with an empty one as whatever fits the certificate."""
        client = self._client(shown)
        try:
            _translated(
                self._address.url,
                lambda: client.login(f"/v1/auth/{CERT_AUTH}/login", json={"name": role}, use_token=True),
            )
        except (RefusedError, OutsideError) as exc:
            # The server calls a certificate out of its time a failure of its own.
            if not isinstance(exc, RefusedError) and _NOT_VERIFIED not in exc.message:
                raise
            raise RefusedError(
                f"the Vault at {self._address.url} takes {shown.certificate} for no {role}",
                code="vault-login",
                remedy="use a certificate of the authority that the Vault knows for this role, which has not ended, "
                "from the address that it is bound to",
                detail=exc.message,
            ) from exc
        return HvacSession(client, self._address.url)

    def with_token(self, token: SecretStr) -> HvacSession:
        """Return the Vault as the bearer of a token sees it."""
        client = self._client(None)
        client.token = token.get_secret_value()
        return HvacSession(client, self._address.url)

    def _client(self, shown: ClientCertificate | None) -> hvac.Client:
        session = requests.Session()
        session.trust_env = False
        session.mount("https://", _Trusting(self._address, _context(self._address, shown)))
        proxies = {"https": self._address.proxy} if self._address.proxy else {}
        return hvac.Client(url=self._address.url, session=session, proxies=proxies, timeout=self._timeout_s)


class HvacSession:
    """A Vault as one who is logged in sees it."""

    def __init__(self, client: hvac.Client, url: str) -> None:
        self._client, self._url = client, url

    def read(self, path: str) -> Mapping[str, Any] | None:
        """Return what lies at a path."""
        return self._ask(lambda: _data(self._client.read(path)))

    def write(self, path: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write, and return what the Vault answers."""
        # hvac's own `write` takes `data` and `path` for arguments of its own, which keys of ours may be called.
        return self._ask(lambda: _data(self._client.write_data(path, data=dict(data))) or {})

    def list(self, path: str) -> tuple[str, ...]:
        """Return the names below a path."""
        found = self._ask(lambda: _data(self._client.list(path)))
        return tuple(sorted(found["keys"])) if found else ()

    def delete(self, path: str) -> None:
        """Delete what lies at a path."""
        self._ask(lambda: self._client.delete(path))

    def end(self) -> None:
        """Have the token revoked; one that has ended by itself is not."""
        with suppress(MutxInfraError):
            self._ask(self._client.auth.token.revoke_self)

    def _ask(self, ask: Callable[[], T]) -> T:
        return _translated(self._url, ask)


class _Trusting(HTTPAdapter):
    """Connections to one server, known by one authority and, where it is reached by a tunnel, by another name."""

    def __init__(self, address: VaultAddress, context: ssl.SSLContext) -> None:
        self._address, self._context = address, context
        super().__init__(max_retries=Retry(total=0))

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **more: object) -> None:
        """Make the connections that lead there directly."""
        super().init_poolmanager(connections, maxsize, block=block, **more, **self._tls())

    def proxy_manager_for(self, proxy: str, **more: object) -> ProxyManager:
        """Make the connections that go through a proxy."""
        made: ProxyManager = super().proxy_manager_for(proxy, **more, **self._tls())
        return made

    def cert_verify(self, conn: object, url: object, verify: object, cert: object) -> None:
        """Leave everything to the context: requests would load the system's authorities into it."""

    def _tls(self) -> dict[str, Any]:
        name = self._address.server_name
        named = {"server_hostname": name, "assert_hostname": name} if name else {}
        return {"ssl_context": self._context, **named}


def _context(address: VaultAddress, shown: ClientCertificate | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cadata=address.authority)
    except (ssl.SSLError, ValueError) as exc:
        raise SettingsError(
            f"the authority given for {address.url} is no certificate",
            code="vault-authority",
            remedy="take the file that `vault init` wrote, or give the authority's certificate in PEM",
        ) from exc
    if shown is not None:
        try:
            context.load_cert_chain(shown.certificate, shown.key)
        except (OSError, ssl.SSLError) as exc:
            raise SettingsError(
                f"{shown.certificate} and {shown.key} cannot be used: {exc}",
                code="vault-certificate",
                remedy="give a certificate in PEM and its own key, both readable (VAULT_CLIENT_CERT, VAULT_CLIENT_KEY)",
            ) from exc
    return context


def _data(answer: object) -> Mapping[str, Any] | None:
    """Return the payload; an answer without one is what some endpoints that anybody may read give."""
    if answer is None or answer == "":
        return None
    if isinstance(answer, Mapping):
        data = answer.get("data", answer)
        return data if isinstance(data, Mapping) else None
    return {"text": getattr(answer, "text", "")}


def _translated(url: str, ask: Callable[[], T]) -> T:
    """Ask, and say in our words what went wrong; never what was sent."""
    try:
        return ask()
    except (refusals.Forbidden, refusals.Unauthorized) as exc:
        raise RefusedError(
            f"the Vault at {url} does not allow this",
            code="vault-denied",
            remedy="log in as somebody whose policy allows it: the tenant's administrators may do everything",
        ) from exc
    except (refusals.InvalidRequest, refusals.UnsupportedOperation, refusals.InvalidPath) as exc:
        raise RefusedError(
            f"the Vault at {url} refuses this: {_said(exc)}",
            code="vault-refused",
            remedy="see what it says; nothing was changed",
        ) from exc
    except refusals.VaultDown as exc:
        _down(url, exc)
    except refusals.UnexpectedError as exc:
        # 405 is none of the statuses that hvac knows.
        if "unsupported" not in str(exc) and exc.errors:
            raise _failing(url, exc) from exc
        raise RefusedError(
            f"the Vault at {url} does nothing of this kind",
            code="vault-refused",
            remedy="see what it says; nothing was changed",
            detail=_said(exc),
        ) from exc
    except refusals.VaultError as exc:
        raise _failing(url, exc) from exc
    except requests.exceptions.SSLError as exc:
        if "certificate has expired" in str(exc) or "certificate is not yet valid" in str(exc):
            raise OutsideError(
                f"the certificate of the Vault at {url} is not valid by this machine's clock",
                code="vault-clock",
                remedy="set this machine's clock; if it is right, the platform's operator renews the certificate",
                detail=str(exc)[:300],
            ) from exc
        raise OutsideError(
            f"{url} is not the Vault that was expected, or does not take this client's certificate",
            code="vault-not-trusted",
            remedy="compare the authority with the one that `vault init` printed; see that both clocks are right",
            detail=str(exc)[:300],
        ) from exc
    except requests.exceptions.RequestException as exc:
        raise OutsideError(
            f"the Vault at {url} cannot be reached",
            code="vault-unreachable",
            remedy="see that this machine is on the tailnet as one of the tenant's administrators, then try again",
            detail=f"{type(exc).__name__}: {str(exc)[:300]}",
        ) from exc


def _failing(url: str, exc: refusals.VaultError) -> OutsideError:
    return OutsideError(
        f"the Vault at {url} fails: {_said(exc)}",
        code="vault-failing",
        remedy="it refuses everything while it cannot write its audit log: see its disk, then try again",
    )


def _down(url: str, exc: refusals.VaultError) -> NoReturn:
    if "sealed" in str(exc).lower():
        raise OutsideError(
            f"the Vault at {url} is sealed",
            code="vault-sealed",
            remedy="it opens by itself once it reaches the key that seals it: see that key, then restart its service",
        ) from exc
    raise OutsideError(
        f"the Vault at {url} is not ready: {_said(exc)}", code="vault-failing", remedy="try again in a moment"
    ) from exc


def _said(exc: refusals.VaultError) -> str:
    """Return the Vault's words without the URL that hvac adds; they hold names, never what was sent."""
    return "; ".join(str(error).strip() for error in (exc.errors or [str(exc)]))[:300]
