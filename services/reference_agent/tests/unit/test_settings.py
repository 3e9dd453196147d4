"""The environment: what describes an agent, and that each mistake names its variable."""

from __future__ import annotations

import pytest
from mutx_reference_agent.main import scrub_environment
from mutx_reference_agent.settings import read_settings
from mutx_service.settings import SettingsError


@pytest.fixture
def variables(tmp_path):
    (tmp_path / "file.pem").touch()
    return {
        "MUTX_AGENT_NAME": "agent-a",
        "MUTX_AGENT_PROVIDER": "openai",
        "MUTX_AGENT_MODEL": "m",
        "CREDENTIALS_DIRECTORY": "/run/credentials/mutx-agent.service",
        "STATE_DIRECTORY": str(tmp_path),
    }


def test_systemd_s_own_directories_suffice(variables, tmp_path):
    settings = read_settings(variables)

    assert str(settings.key_file) == "/run/credentials/mutx-agent.service/provider-key"
    assert (settings.state, settings.host, settings.port) == (tmp_path, "127.0.0.1", 8080)


TLS = {f"MUTX_AGENT_{name}": "file.pem" for name in ("TLS_CERTIFICATE", "TLS_KEY", "TLS_CLIENT_CA")}
GUARD = {f"MUTX_AGENT_GUARD_{name}": "file.pem" for name in ("CERTIFICATE", "KEY", "CA")}
JUDGED = {**GUARD, "MUTX_AGENT_GUARD": "https://guard:8444"}
WRONG = {
    "misspelt": ({"MUTX_AGENT_MODLE": "x"}, "MODLE"),
    "no name": ({"MUTX_AGENT_NAME": ""}, "NAME"),
    "bad name": ({"MUTX_AGENT_NAME": "A b"}, "NAME"),
    "provider": ({"MUTX_AGENT_PROVIDER": "other"}, "PROVIDER"),
    "no model": ({"MUTX_AGENT_MODEL": " "}, "MODEL"),
    "no key": ({"CREDENTIALS_DIRECTORY": ""}, "KEY_FILE"),
    "no state": ({"STATE_DIRECTORY": "/nowhere"}, "STATE"),
    "port": ({"MUTX_AGENT_PORT": "70000"}, "PORT"),
    "limit": ({"MUTX_AGENT_MAX_RUNS": "0"}, "MAX_RUNS"),
    "digits": ({"MUTX_AGENT_MAX_RUNS": "¹"}, "MAX_RUNS"),
    "open without mTLS": ({"MUTX_AGENT_HOST": "0.0.0.0"}, "HOST"),  # noqa: S104
    "host by name": ({"MUTX_AGENT_HOST": "example"}, "HOST"),
    "half of TLS": ({"MUTX_AGENT_TLS_KEY": "file.pem"}, "TLS_CERTIFICATE"),
    "no such file": ({**TLS, "MUTX_AGENT_TLS_KEY": "none.pem"}, "TLS_KEY"),
    "TLS for all": (TLS, "CALLERS"),
    "callers without TLS": ({"MUTX_AGENT_CALLERS": "guard"}, "CALLERS"),
    "plain http": ({"MUTX_AGENT_BASE_URL": "http://api.example/v1"}, "BASE_URL"),
    "password": ({"MUTX_AGENT_PROXY": "https://a:b@guard:8444"}, "PROXY"),
    "guard without certificates": ({"MUTX_AGENT_GUARD": "https://guard:8444"}, "GUARD"),
    "certificates for no guard": (GUARD, "GUARD"),
    "guard in the clear": ({**GUARD, "MUTX_AGENT_GUARD": "http://127.0.0.1:8444"}, "GUARD"),
    "guard and base URL": ({**JUDGED, "MUTX_AGENT_BASE_URL": "https://api.example/v1"}, "BASE_URL"),
    "guard and proxy": ({**JUDGED, "MUTX_AGENT_PROXY": "https://guard:8444"}, "PROXY"),
    "guard and another CA": ({**JUDGED, "MUTX_AGENT_PROVIDER_CA": "file.pem"}, "PROVIDER_CA"),
    "certificates for no proxy": (
        {f"MUTX_AGENT_PROXY_{n}": "file.pem" for n in ("CERTIFICATE", "KEY", "CA")},
        "PROXY",
    ),
}


@pytest.mark.parametrize(("changed", "name"), WRONG.values(), ids=WRONG)
def test_a_mistake_names_its_variable(variables, tmp_path, monkeypatch, changed, name):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SettingsError) as refused:
        read_settings({**variables, **changed})

    assert refused.value.variable == f"MUTX_AGENT_{name}"
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("provider", "url"),
    [("openai", "https://guard:8444/openai/v1"), ("anthropic", "https://guard:8444/anthropic")],
)
def test_on_the_judged_way_the_guard_stands_in_the_provider_s_place(
    variables, tmp_path, monkeypatch, provider, url
):
    monkeypatch.chdir(tmp_path)

    settings = read_settings({**variables, **JUDGED, "MUTX_AGENT_PROVIDER": provider})

    assert (settings.base_url, settings.proxy) == (url, None)
    assert settings.guard_tls is not None


def test_what_makes_a_library_talk_is_taken_away():
    variables = dict.fromkeys(
        (
            "LANGSMITH_TRACING",
            "LANGCHAIN_API_KEY",
            "OPENAI_LOG",
            "HTTPS_PROXY",
            "https_proxy",
            "SSLKEYLOGFILE",
            "PATH",
        ),
        "x",
    )

    scrub_environment(variables)

    assert list(variables) == ["PATH"]
