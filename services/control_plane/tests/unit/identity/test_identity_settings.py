"""What identity is told: each wrong or contradictory variable is named, and no secret is."""

from __future__ import annotations

import base64
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from mutx_control_plane.identity.claims import Rule
from mutx_control_plane.identity.provider import GOOGLE
from mutx_control_plane.identity.settings import keep_secrets, read_identity_settings
from mutx_control_plane.identity.signing import ensure_key, read_keys
from mutx_control_plane.roles import Role
from mutx_service.settings import SettingsError
from token_mint import NOW

SECRET = f"a:{base64.b64encode(bytes(range(32))).decode()}"
HERE = "http://127.0.0.1:8443"
KEYCLOAK = "https://kc.example/realms/x"
RULE = {"claim": "groups", "value": "devs", "tenant": "acme", "role": "DEVELOPER"}


class Place:
    """Files that variables name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, content: object, mode: int = 0o600) -> str:
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        path.chmod(mode)
        return str(path)

    def oidc(self, **changed: str | None) -> dict[str, str]:
        whole = {
            "OIDC_ISSUER": "https://id.example.com",
            "OIDC_CLIENT_ID": "client-1",
            "OIDC_ROLE_MAP": self.write("map.yaml", [RULE]),
        } | changed
        return {name: value for name, value in whole.items() if value is not None}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def read(**variables: str):
    return read_identity_settings(variables, HERE)


def refusal(**variables: str) -> SettingsError:
    with pytest.raises(SettingsError) as refused:
        read(**variables)
    return refused.value


def test_with_nothing_set_there_are_local_accounts_alone():
    found = read()

    assert found.public_url == HERE
    assert found.providers == ()
    assert found.secrets is None
    assert (found.rate.requests, found.rate.window_s) == (20, 60)


def test_a_provider_is_read_of_the_platforms_names(place):
    secret = place.write("secret", "s3cret\n")

    (found,) = read(
        **place.oidc(
            OIDC_JWKS_URI="https://id.example.com/keys",
            OIDC_AUDIENCE="mutx-api",
            OIDC_ALGORITHMS="RS256,ES256",
            OIDC_CLIENT_SECRET_FILE=secret,
            OIDC_HOSTS="Keys.example.com",
        )
    ).providers

    assert (found.issuer, found.client_id, found.audience) == (
        "https://id.example.com",
        "client-1",
        "mutx-api",
    )
    assert found.keys_url == "https://id.example.com/keys"
    assert found.rules == (Rule("groups", "devs", "acme", Role.DEVELOPER),)
    assert found.algorithms == {"RS256", "ES256"}
    assert found.client_secret.get_secret_value() == "s3cret"
    assert found.hosts == {"keys.example.com"}
    assert "s3cret" not in repr(found)


def test_an_issuers_slash_stays(place):
    (found,) = read(**place.oidc(OIDC_ISSUER="https://mutx.eu.auth0.com/")).providers

    assert found.issuer == "https://mutx.eu.auth0.com/"


def test_several_providers_are_read_of_a_file_beside_the_one(place):
    others = [
        {
            "name": "google",
            "issuer": GOOGLE,
            "client_id": "g",
            "rules": [{**RULE, "claim": "hd", "value": "acme.example"}],
        },
        {
            "name": "kc",
            "issuer": KEYCLOAK,
            "client_id": "k",
            "rules": [{**RULE, "claim": "realm_access.roles"}],
        },
    ]

    found = read(**place.oidc(), MUTX_CONTROL_PLANE_PROVIDERS=place.write("p.yaml", others)).providers

    assert [(each.name, each.client_id) for each in found] == [
        ("sso", "client-1"),
        ("google", "g"),
        ("kc", "k"),
    ]


BAD_OIDC = {
    "no issuer": ({"OIDC_ISSUER": None}, "OIDC_ISSUER"),
    "no client": ({"OIDC_CLIENT_ID": None}, "OIDC_CLIENT_ID"),
    "no map": ({"OIDC_ROLE_MAP": None}, "OIDC_ROLE_MAP"),
    "an issuer in plain http": ({"OIDC_ISSUER": "http://id.example.com"}, "OIDC_ISSUER"),
    "an issuer that is a host": ({"OIDC_ISSUER": "id.example.com"}, "OIDC_ISSUER"),
    "an issuer with a user": ({"OIDC_ISSUER": "https://a:b@id.example.com"}, "OIDC_ISSUER"),
    "an issuer with a query": ({"OIDC_ISSUER": "https://id.example.com?x=1"}, "OIDC_ISSUER"),
    "an issuer with a fragment": ({"OIDC_ISSUER": "https://id.example.com#x"}, "OIDC_ISSUER"),
    "ourselves as the issuer": ({"OIDC_ISSUER": HERE}, "OIDC_ISSUER"),
    "keys in plain http": ({"OIDC_JWKS_URI": "http://id.example.com/keys"}, "OIDC_JWKS_URI"),
    "keys in a file": ({"OIDC_JWKS_URI": "file:///etc/passwd"}, "OIDC_JWKS_URI"),
    "a symmetric algorithm": ({"OIDC_ALGORITHMS": "HS256"}, "OIDC_ALGORITHMS"),
    "no algorithm by name": ({"OIDC_ALGORITHMS": "RS256 none"}, "OIDC_ALGORITHMS"),
    "a host with a path": ({"OIDC_HOSTS": "keys.example.com/x"}, "OIDC_HOSTS"),
    "a host with a port": ({"OIDC_HOSTS": "keys.example.com:9200"}, "OIDC_HOSTS"),
    "scopes without openid": ({"OIDC_SCOPES": "email"}, "OIDC_SCOPES"),
    "a secret in no file": ({"OIDC_CLIENT_SECRET_FILE": "/nonexistent"}, "OIDC_CLIENT_SECRET_FILE"),
    "a misspelt name": ({"OIDC_JWKS_URL": "https://id.example.com/keys"}, "OIDC_JWKS_URL"),
    "a secret in the environment": ({"OIDC_CLIENT_SECRET": "canary"}, "OIDC_CLIENT_SECRET"),
    "an endless client": ({"OIDC_CLIENT_ID": "c" * 257}, "OIDC_CLIENT_ID"),
}


@pytest.mark.parametrize(("changed", "variable"), BAD_OIDC.values(), ids=BAD_OIDC.keys())
def test_a_provider_is_refused_with(place, changed, variable):
    refused = refusal(**place.oidc(**changed))

    assert refused.variable == variable
    assert refused.remedy
    assert "canary" not in f"{refused} {refused.remedy}"


MAPS = {
    "nothing": "",
    "no rules": "[]",
    "no list": "claim: groups",
    "no YAML": "{[",
    "a rule without a role": [{"claim": "groups", "value": "x", "tenant": "acme"}],
    "a role that is none": [{**RULE, "role": "ROOT"}],
    "a role in small letters": [{**RULE, "role": "admin"}],
    "an empty value": [{**RULE, "value": ""}],
    "a value that is a number": [{**RULE, "value": 7}],
    "a tenant that is no label": [{**RULE, "tenant": "Acme Inc"}],
    "a claim that is never looked at": [{**RULE, "claim": "scope"}],
    "a member that nobody knows": [{**RULE, "tenants": ["globex"]}],
    "a thing that makes objects": "!!python/object/apply:os.system ['true']",
}


@pytest.mark.parametrize("content", MAPS.values(), ids=MAPS.keys())
def test_a_map_is_refused_of(place, content):
    refused = refusal(**place.oidc(OIDC_ROLE_MAP=place.write("bad.yaml", content)))

    assert refused.variable == "OIDC_ROLE_MAP"


@pytest.mark.parametrize(
    ("name", "issuer"), [("other", "https://id.example.com"), ("sso", KEYCLOAK)], ids=["issuer", "name"]
)
def test_one_provider_twice_is_refused_by_its(place, name, issuer):
    again = [{"name": name, "issuer": issuer, "client_id": "x", "rules": [RULE]}]

    refused = refusal(**place.oidc(), MUTX_CONTROL_PLANE_PROVIDERS=place.write("p.yaml", again))

    assert refused.variable == "MUTX_CONTROL_PLANE_PROVIDERS"


@pytest.mark.parametrize(
    ("content", "mode"),
    [("", 0o600), ("\n", 0o600), ("s3cret", 0o644)],
    ids=["empty", "a line's end", "for everybody"],
)
def test_a_clients_secret_is_refused_that_is(place, content, mode):
    refused = refusal(**place.oidc(OIDC_CLIENT_SECRET_FILE=place.write("secret", content, mode)))

    assert refused.variable == "OIDC_CLIENT_SECRET_FILE"
    assert "s3cret" not in str(refused)


def test_the_secret_key_is_read_of_the_variable_or_of_a_file(place):
    by_variable = read(SECRET_ENCRYPTION_KEY=SECRET).secrets
    by_file = read(SECRET_ENCRYPTION_KEY_FILE=place.write("key", SECRET + "\n")).secrets

    assert by_variable.derive("seal") == by_file.derive("seal")


def test_both_at_once_are_refused(place):
    refused = refusal(SECRET_ENCRYPTION_KEY=SECRET, SECRET_ENCRYPTION_KEY_FILE=place.write("key", SECRET))

    assert refused.variable == "SECRET_ENCRYPTION_KEY"


@pytest.mark.parametrize("text", ["x", "a:canary", SECRET[2:], f"{SECRET},{SECRET}"])
def test_a_secret_key_that_is_none_is_refused_and_not_shown(text):
    refused = refusal(SECRET_ENCRYPTION_KEY=text)

    assert refused.variable == "SECRET_ENCRYPTION_KEY"
    assert "canary" not in str(refused)
    assert SECRET[2:] not in str(refused)


def test_without_one_it_is_made_once_and_kept_for_its_owner_alone(tmp_path):
    first, second = keep_secrets(tmp_path, os.urandom), keep_secrets(tmp_path, os.urandom)

    assert first.derive("seal") == second.derive("seal")
    (kept,) = tmp_path.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_kept_secret_that_was_emptied_is_refused(tmp_path):
    keep_secrets(tmp_path, os.urandom)
    next(tmp_path.iterdir()).write_text("")

    with pytest.raises(SettingsError, match="holds no secret"):
        keep_secrets(tmp_path, os.urandom)


def test_signing_keys_are_made_where_there_are_none_and_once(tmp_path):
    now = datetime.fromtimestamp(NOW, UTC)
    folder = ensure_key(tmp_path / "keys", now)
    ensure_key(folder, now + timedelta(days=1))

    assert folder.stat().st_mode & 0o777 == 0o700
    assert [key.begins for key in read_keys(folder)] == [NOW]


BAD = {
    "PUBLIC_URL": [
        "http://api.example.com",
        "api.example.com",
        "https://api.example.com/v1",
        "https://a.b?x=1",
    ],
    "REDIS_URL": ["localhost:6379", "http://localhost"],
    "TRUSTED_PROXIES": ["10.0.0.1/24", "proxy", "0.0.0.0/0", "::/0"],
    "SIGNING_KEYS": ["/nonexistent"],
    "PROVIDERS": ["/nonexistent"],
    "REFRESH_GRACE_SECONDS": ["61", "-1", "1.5", "ten"],
    "SESSION_DAYS": ["0", "366"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_a_variable_of_ours_is_refused(name, value):
    assert refusal(**{f"MUTX_CONTROL_PLANE_{name}": value}).variable == f"MUTX_CONTROL_PLANE_{name}"


@pytest.mark.parametrize(
    ("name", "value"),
    [("AUTH_RATE_LIMIT_REQUESTS", "0"), ("AUTH_RATE_LIMIT_REQUESTS", "many"), ("AUTH_RATE_LIMIT_WINDOW_SECONDS", "-1"),
     ("AUTH_RATE_LIMIT_WINDOW", "60")],
)  # fmt: skip
def test_a_rate_limit_that_would_be_none_is_refused(name, value):
    assert refusal(**{name: value}).variable == name


def test_a_vault_is_read_with_its_token(place):
    found = read(
        VAULT_ADDR="https://vault.example:8200/", MUTX_CONTROL_PLANE_VAULT_TOKEN_FILE=place.write("t", "x")
    )

    assert found.vault.address == "https://vault.example:8200"
    assert (found.vault.mount, found.vault.key) == ("transit", "api-keys")
    assert read(VAULT_ADDR="https://vault.example:8200").vault is None


VAULTS = {
    "no address": ({}, "VAULT_ADDR"),
    "plain http": ({"VAULT_ADDR": "http://vault.example:8200"}, "VAULT_ADDR"),
    "a mount that is a path": (
        {"MUTX_CONTROL_PLANE_VAULT_MOUNT": "a/../sys"},
        "MUTX_CONTROL_PLANE_VAULT_MOUNT",
    ),
    "a key that is a path": ({"MUTX_CONTROL_PLANE_VAULT_KEY": "../x"}, "MUTX_CONTROL_PLANE_VAULT_KEY"),
    "no authority": ({"VAULT_CACERT": "/nonexistent"}, "VAULT_CACERT"),
}


@pytest.mark.parametrize(("changed", "variable"), VAULTS.values(), ids=VAULTS.keys())
def test_a_vault_is_refused_with(place, changed, variable):
    whole = {"MUTX_CONTROL_PLANE_VAULT_TOKEN_FILE": place.write("t", "x")}
    if variable != "VAULT_ADDR":
        whole["VAULT_ADDR"] = "https://vault.example:8200"

    assert refusal(**(whole | changed)).variable == variable


def test_a_vaults_key_without_a_vault_is_refused():
    assert refusal(MUTX_CONTROL_PLANE_VAULT_KEY="x").variable == "MUTX_CONTROL_PLANE_VAULT_KEY"


def test_two_processes_at_once_keep_one_secret(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _turn: keep_secrets(tmp_path, os.urandom), range(16)))

    assert len({each.derive("seal")[0].key for each in found}) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_the_public_url_loses_its_slash():
    assert (
        read(MUTX_CONTROL_PLANE_PUBLIC_URL="https://api.example.com/").public_url == "https://api.example.com"
    )
