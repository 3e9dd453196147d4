"""Rules and settings of the egress: what is wrong is named, and stops the start."""

from __future__ import annotations

import json

import pytest
from mutx_guardrail.egress.rules import Rules, read_rules
from mutx_guardrail.egress.settings import read_egress_settings
from mutx_service.settings import SettingsError
from pydantic import ValidationError

AGENT = {"names": ["agent-a.acme.internal"]}


def rules(**agents: object) -> Rules:
    return Rules.model_validate({"agents": agents})


@pytest.mark.parametrize(
    "agent",
    [
        {},
        {"names": []},
        {**AGENT, "tunnels": ["*"]},
        {**AGENT, "tunnels": ["API.openai.com"]},
        {**AGENT, "tunnels": ["10.0.0.1"]},
        {**AGENT, "tunnels": ["*.com."]},
        {**AGENT, "tunnels": ["com"]},
        {**AGENT, "tunnels": ["a.*.com"]},
        {**AGENT, "providers": ["other"]},
        {**AGENT, "tunnel": ["api.openai.com"]},
    ],
    ids=[
        "no names",
        "empty",
        "everything",
        "case",
        "address",
        "dot",
        "label",
        "inner star",
        "provider",
        "misspelt",
    ],
)
def test_an_agent_s_rule_that_is_wrong_is_refused(agent):
    with pytest.raises(ValidationError):
        rules(a=agent)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.openai.com/v1",
        "https://user@host/v1",
        "https://host/v1?x=1",
        "https://host/v1#x",
        "ftp://host",
    ],
)
def test_a_provider_is_reached_by_plain_https(url):
    with pytest.raises(ValidationError):
        Rules.model_validate({"agents": {}, "providers": {"p": {"dialect": "openai", "base_url": url}}})


def test_a_certificate_s_name_belongs_to_one_agent():
    with pytest.raises(ValidationError, match="is a's name already"):
        rules(a=AGENT, b=AGENT)


def test_a_certificate_with_the_names_of_two_agents_is_nobody_s():
    both = rules(a=AGENT, b={"names": ["agent-b.acme.internal"]})

    assert both.agent_of(frozenset({"agent-a.acme.internal", "localhost"})) == "a"
    assert both.agent_of(frozenset({"agent-a.acme.internal", "agent-b.acme.internal"})) is None
    assert both.agent_of(frozenset()) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no YAML"),
        ("[]", "wrong"),
        ("agents: {A: {names: [x]}}", "agents"),
        ("\xff", "no YAML"),
        ("", "wrong"),
    ],
    ids=["form", "list", "name", "bytes", "empty"],
)
def test_a_file_that_is_wrong_is_named_by_its_variable(tmp_path, content, said):
    file = tmp_path / "egress.yml"
    file.write_bytes(content.encode("latin-1"))

    with pytest.raises(SettingsError, match=said) as refused:
        read_rules(file, "MUTX_GUARDRAIL_EGRESS_RULES")

    assert refused.value.variable == "MUTX_GUARDRAIL_EGRESS_RULES"


@pytest.fixture
def variables(tmp_path):
    (tmp_path / "rules.yml").write_text(json.dumps({"agents": {"a": AGENT}}))
    (tmp_path / "file.pem").touch()
    names = ("TLS_CERTIFICATE", "TLS_KEY", "TLS_CLIENT_CA")
    found = {f"MUTX_GUARDRAIL_EGRESS_{name}": str(tmp_path / "file.pem") for name in names}
    return {**found, "MUTX_GUARDRAIL_EGRESS_RULES": str(tmp_path / "rules.yml")}


def test_the_defaults_are_the_contract_s(variables):
    settings = read_egress_settings(variables)

    assert (settings.host, settings.port, settings.ports, settings.inner) == (
        "127.0.0.1",
        8444,
        {443},
        frozenset(),
    )
    assert set(settings.rules.providers) == {"openai", "anthropic"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TLS_CERTIFICATE", ""),
        ("RULES", ""),
        ("RULES", "/nowhere"),
        ("PORT", "x"),
        ("PORTS", "443 70000"),
        ("PORTS", "-1"),
        ("INNER_ADDRESSES", "example"),
        ("MAX_TUNNELS", "0"),
        ("WINDOW", "3"),
        ("MISSPELT", "1"),
    ],
)
def test_a_setting_that_is_wrong_stops_the_start_by_its_name(variables, name, value):
    with pytest.raises(SettingsError, match=name):
        read_egress_settings({**variables, f"MUTX_GUARDRAIL_EGRESS_{name}": value})
