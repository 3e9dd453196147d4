"""A real Keycloak in a process of its own, with one realm, and a browser that signs in there."""

from __future__ import annotations

import html
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx2

ROOT = Path(__file__).resolve().parents[4]
ADMIN = {"username": "admin-of-a-test", "password": "password-of-a-test"}
REALM, CLIENT, SECRET, PASSWORD = "mutx", "mutx-dashboard", "secret-of-a-test", "a pony in the cellar"
_START_S = 600


class KeycloakProcess:
    """One server. Its access tokens are for `mutx-api`, and have their roles where Keycloak puts them."""

    def __init__(self, folder: Path, back: str) -> None:
        tool = [sys.executable, str(ROOT / "tools" / "get_keycloak.py")]
        home = subprocess.run(
            tool, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        port, management = _free_ports()
        self.base = f"http://127.0.0.1:{port}"
        self.issuer = f"{self.base}/realms/{REALM}"
        self._log = folder / "keycloak.log"
        admin = {f"KC_BOOTSTRAP_ADMIN_{name.upper()}": value for name, value in ADMIN.items()}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", f"{home.strip()}/bin/kc.sh", "start", "--optimized", "--http-enabled=true",
                 "--http-host=127.0.0.1", f"--http-port={port}", f"--http-management-port={management}",
                 "--hostname-strict=false"],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx512m",
                     "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1", **admin},
            )  # fmt: skip
        self._client = httpx2.Client(base_url=self.base, trust_env=False, timeout=60)
        try:
            self._await()
            self._make_realm(back)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._client.close()
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(60)

    def post(self, path: str, body: object) -> None:
        """Ask for something as the administrator."""
        form = {**ADMIN, "grant_type": "password", "client_id": "admin-cli"}
        token = self._client.post("/realms/master/protocol/openid-connect/token", data=form).json()[
            "access_token"
        ]
        answer = self._client.post(path, json=body, headers={"authorization": f"Bearer {token}"})
        assert answer.is_success, answer.text

    def add_key(self, kind: str, algorithm: str, priority: int) -> None:
        """Add a key that signs from now on."""
        config = {
            "priority": [str(priority)],
            "enabled": ["true"],
            "active": ["true"],
            "algorithm": [algorithm],
        }
        component = {
            "name": f"{kind}-{priority}", "providerId": kind, "providerType": "org.keycloak.keys.KeyProvider",
            "config": config,
        }  # fmt: skip
        self.post(f"/admin/realms/{REALM}/components", component)

    def tokens(self, login: str) -> dict[str, str]:
        """Return a person's tokens, for the password alone, as Keycloak permits it."""
        form = {
            "grant_type": "password", "username": login, "password": PASSWORD, "client_id": CLIENT,
            "client_secret": SECRET, "scope": "openid",
        }  # fmt: skip
        answer = self._client.post(f"{self.issuer}/protocol/openid-connect/token", data=form)
        assert answer.is_success, answer.text
        return answer.json()

    def _await(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            try:
                if self._client.get("/realms/master").is_success:
                    return
            except httpx2.TransportError:
                pass
            assert self._process.poll() is None, self._log.read_text()[-4000:]
            time.sleep(0.5)
        raise AssertionError(self._log.read_text()[-4000:])

    def _make_realm(self, back: str) -> None:
        audience = {
            "name": "audience", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
            "config": {"included.custom.audience": "mutx-api", "access.token.claim": "true"},
        }  # fmt: skip
        client = {
            "clientId": CLIENT, "secret": SECRET, "redirectUris": [back], "standardFlowEnabled": True,
            "directAccessGrantsEnabled": True, "protocolMappers": [audience],
            "attributes": {"pkce.code.challenge.method": "S256"},
        }  # fmt: skip
        people = [_person("ann", ["agents-dev"], ["operator"]), _person("eve", [], [])]
        roles = {"realm": [{"name": "agents-dev"}], "client": {CLIENT: [{"name": "operator"}]}}
        realm = {"realm": REALM, "enabled": True, "clients": [client], "roles": roles, "users": people}
        self.post("/admin/realms", realm)


def sign_in(url: str, login: str, back: str) -> list[tuple[str, str]]:
    """Follow a sign-in as a browser does; return the query that `back` was reached with."""
    with httpx2.Client(trust_env=False, follow_redirects=False, timeout=60) as browser:
        page = browser.get(url)
        action = html.unescape(re.search(r'<form[^>]* action="([^"]+)"', page.text)[1])
        # They are `Secure`: a browser sends such to loopback also without TLS, and this client does not.
        pairs = "; ".join(cookie.partition(";")[0] for cookie in page.headers.get_list("set-cookie"))
        form = {"username": login, "password": PASSWORD, "credentialId": ""}
        answer = browser.post(action, data=form, headers={"cookie": pairs})
    assert answer.headers.get("location", "").startswith(back), (answer.status_code, answer.text)
    return parse_qsl(urlsplit(answer.headers["location"]).query, keep_blank_values=True)


def _person(login: str, realm_roles: list[str], client_roles: list[str]) -> dict[str, object]:
    return {
        "username": login, "enabled": True, "email": f"{login}@acme.example", "emailVerified": True,
        "firstName": login, "lastName": "Example", "realmRoles": realm_roles, "clientRoles": {CLIENT: client_roles},
        "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
    }  # fmt: skip


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
