"""Sealing by a real Vault's transit engine."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from bao_process import BaoProcess
from mutx_control_plane.identity.sealing import AesSealer, SealBroken
from mutx_control_plane.identity.secret_keys import read_secret_keys
from mutx_control_plane.identity.transit import TransitSealer, TransitSettings
from mutx_service.problem import Problem

CONTEXT = "key-1|user-1|acme"
EARLIER = AesSealer(read_secret_keys(f"a:{base64.b64encode(bytes(range(32))).decode()}"), os.urandom)


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaoProcess]:
    server = BaoProcess(tmp_path_factory.mktemp("bao"))
    yield server
    server.stop()


@pytest.fixture
def token_file(bao: BaoProcess, tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(bao.make_token() + "\n")
    return path


def within(bao: BaoProcess, token_file: Path, scenario, key: str = "api-keys"):
    async def run():
        async with httpx2.AsyncClient(trust_env=False) as client:
            settings = TransitSettings(bao.address, token_file, key)
            return await scenario(TransitSealer(settings, client, EARLIER))

    return asyncio.run(run())


def test_what_the_vault_sealed_it_opens_and_only_in_its_context(bao, token_file):
    async def scenario(sealer):
        sealed = await sealer.seal(b"whole", CONTEXT)
        assert await sealer.open(sealed, CONTEXT) == b"whole"
        for context in ("key-2|user-1|acme", "key-1|user-1|globex"):
            with pytest.raises(SealBroken):
                await sealer.open(sealed, context)
        return sealed, sealer.is_current(sealed)

    sealed, is_current = within(bao, token_file, scenario)

    assert sealed.startswith("vault:v")
    assert is_current


def test_what_was_sealed_before_the_vaults_key_changed_still_opens(bao, token_file):
    async def scenario(sealer):
        sealed = await sealer.seal(b"whole", CONTEXT)
        bao.post("/v1/transit/keys/api-keys/rotate", {})
        return await sealer.open(sealed, CONTEXT), sealed, await sealer.seal(b"whole", CONTEXT)

    opened, older, newer = within(bao, token_file, scenario)

    assert opened == b"whole"
    assert older.split(":")[1] != newer.split(":")[1]


def test_what_was_sealed_before_there_was_a_vault_still_opens_and_is_to_be_renewed(bao, token_file):
    async def scenario(sealer):
        sealed = await EARLIER.seal(b"whole", CONTEXT)
        return await sealer.open(sealed, CONTEXT), sealer.is_current(sealed)

    assert within(bao, token_file, scenario) == (b"whole", False)


@pytest.mark.parametrize("text", ["vault:v1:", "vault:v1:AAAA", "vault:v9:AAAA", "vault:vx:!", "x", ""])
def test_any_other_text_does_not_open(bao, token_file, text):
    async def scenario(sealer):
        with pytest.raises(SealBroken):
            await sealer.open(text, CONTEXT)

    within(bao, token_file, scenario)


@pytest.mark.parametrize("token", ["", "wrong", "two\nlines"])
def test_without_a_token_that_may_the_secrets_are_not_available(bao, token_file, token):
    token_file.write_text(token)

    async def scenario(sealer):
        with pytest.raises(Problem, match="secrets-unavailable"):
            await sealer.seal(b"canary", CONTEXT)

    within(bao, token_file, scenario)


def test_a_token_of_this_policy_serves_no_other_key(bao, token_file):
    async def scenario(sealer):
        with pytest.raises(Problem, match="secrets-unavailable"):
            await sealer.seal(b"whole", CONTEXT)

    within(bao, token_file, scenario, key="other")


def test_a_token_that_was_renewed_in_its_file_is_used_at_the_next_call(bao, token_file):
    good = token_file.read_text()

    async def scenario(sealer):
        token_file.write_text("over")
        with pytest.raises(Problem, match="secrets-unavailable"):
            await sealer.seal(b"whole", CONTEXT)
        token_file.write_text(good)
        return await sealer.seal(b"whole", CONTEXT)

    assert within(bao, token_file, scenario).startswith("vault:v")
