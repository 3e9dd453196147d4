"""An identity provider that does the code flow with PKCE as it should, and misbehaves where it is told to.

In a unit test its `handle` is the transport; `serve` puts the same on a loopback port.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256, sha512
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote_plus, urlsplit

import httpx2
from mutx_control_plane.identity.provider_http import ProviderHttp
from token_mint import ISSUER, NOW, b64, jwk, mint

CLIENT, SECRET = "client-1", "s:e/c+r e%t"
CONFIGURATION = "/.well-known/openid-configuration"


@dataclass
class Reply:
    """An HTTP answer."""

    status: int = 200
    body: bytes | dict = b""
    headers: dict[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class FakeProvider:
    """One realm with one person.

    Attributes:
        replies: by path, what is answered instead of the right thing.
        id_claims, access_claims: changed claims of the tokens; None takes one out.
        calls: paths, in the order they were asked for.
    """

    def __init__(self, issuer: str = ISSUER) -> None:
        self.issuer, self.base = issuer, issuer.rstrip("/")
        self.replies: dict[str, Reply | Callable[[], Reply]] = {}
        self.discovery: dict[str, object] = {}
        self.id_claims: dict[str, object] = {}
        self.access_claims: dict[str, object] | None = None
        self.id_header: dict[str, object] = {}
        self.userinfo: dict[str, object] = {"sub": "user-1"}
        self.answer: dict[str, object] = {}
        self.which, self.kid, self.algorithm = 0, "k1", "RS256"
        self.secret, self.now = "", NOW
        self.calls: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}

    @property
    def document(self) -> dict[str, object]:
        whole = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.base}/authorize",
            "token_endpoint": f"{self.base}/token",
            "userinfo_endpoint": f"{self.base}/userinfo",
            "jwks_uri": f"{self.base}/keys",
            "code_challenge_methods_supported": ["plain", "S256"],
            "authorization_response_iss_parameter_supported": True,
        } | self.discovery
        return {name: value for name, value in whole.items() if value is not None}

    def http(self, deadline_s: float = 5.0) -> ProviderHttp:
        """Return calls that reach this provider and nobody else."""

        async def handle(request: httpx2.Request) -> httpx2.Response:
            assert str(request.url).startswith(self.base), request.url
            form = dict(parse_qsl((await request.aread()).decode()))
            reply = self.handle(request.url.path, dict(request.headers), form)
            return httpx2.Response(
                reply.status, headers=reply.headers, stream=httpx2.ByteStream(reply.content())
            )

        client = httpx2.AsyncClient(transport=httpx2.MockTransport(handle), follow_redirects=False)
        return ProviderHttp(client, deadline_s)

    def handle(self, path: str, headers: dict[str, str], form: dict[str, str]) -> Reply:
        path = path.removeprefix(urlsplit(self.base).path)
        self.calls.append(path)
        instead = self.replies.get(path)
        if instead is not None:
            return instead() if callable(instead) else instead
        if path == CONFIGURATION:
            return Reply(body=self.document)
        if path == "/keys":
            return Reply(body={"keys": [jwk(self.algorithm, self.kid, self.which, use="sig")]})
        if path == "/token":
            return self._token(headers, form)
        if path == "/userinfo":
            is_known = headers.get("authorization", "").startswith("Bearer ")
            return Reply(body=self.userinfo) if is_known else Reply(401, {"error": "invalid_token"})
        return Reply(404, {"error": "not_found"})

    def authorise(self, url: str, **changed: str) -> list[tuple[str, str]]:
        """Sign the person in, as a browser that follows `url` does; return the query of the way back."""
        query = dict(parse_qsl(urlsplit(url).query, strict_parsing=True))
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = f"code-{len(self._codes)}"
        self._codes[code] = query
        whole = {"code": code, "state": query["state"], "iss": self.issuer} | changed
        return [(name, value) for name, value in whole.items() if value]

    def _token(self, headers: dict[str, str], form: dict[str, str]) -> Reply:
        asked = self._codes.pop(form.get("code", ""), None)
        challenge = b64(sha256(form.get("code_verifier", "").encode()).digest())
        is_right = (
            asked is not None
            and form.get("grant_type") == "authorization_code"
            and challenge == asked["code_challenge"]
            and form.get("redirect_uri") == asked["redirect_uri"]
            and form.get("client_id") == asked["client_id"]
        )
        if not is_right or asked is None:
            return Reply(400, {"error": "invalid_grant", "error_description": "canary-description"})
        if self.secret and not self._shows_secret(headers, form):
            return Reply(401, {"error": "invalid_client"})
        access = "opaque-access-token"
        if self.access_claims is not None:
            access = self._mint({"aud": "account", "azp": CLIENT, "typ": "Bearer"} | self.access_claims, {})
        digest = (sha512 if self.algorithm == "EdDSA" else sha256)(access.encode()).digest()
        claims = {"aud": CLIENT, "nonce": asked["nonce"], "at_hash": b64(digest[: len(digest) // 2])}
        signed = self._mint(claims | self.id_claims, self.id_header)
        whole = {"access_token": access, "token_type": "Bearer", "id_token": signed} | self.answer
        return Reply(body={name: value for name, value in whole.items() if value is not None})

    def _shows_secret(self, headers: dict[str, str], form: dict[str, str]) -> bool:
        if "client_secret" in form:
            return form["client_secret"] == self.secret
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        name, _, secret = base64.b64decode(rest).decode().partition(":")
        return (scheme, unquote_plus(name), unquote_plus(secret)) == ("Basic", CLIENT, self.secret)

    def _mint(self, claims: dict[str, object], header: dict[str, object]) -> str:
        whole = {"iss": self.issuer, "sub": "user-1", "iat": self.now, "exp": self.now + 300} | claims
        told = {name: value for name, value in whole.items() if value is not None}
        head = {"alg": self.algorithm, "kid": self.kid} | header
        return mint(told, algorithm=self.algorithm, header=head, which=self.which)


@contextmanager
def serve(provider: FakeProvider) -> Iterator[None]:
    """Serve a provider on a port of loopback; its issuer becomes that address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            size = int(self.headers.get("content-length", "0"))
            self._answer(dict(parse_qsl(self.rfile.read(size).decode())))

        def _answer(self, form: dict[str, str]) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = provider.handle(urlsplit(self.path).path, headers, form)
            content = reply.content()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider.issuer = provider.base = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
