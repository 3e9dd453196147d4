"""The environment says where the guard is, or which variable is wrong."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import mutx_guardrail_client
import pytest
from authority import Authority
from mutx_guardrail_client import GuardClient, SettingsError, TlsFiles, read_settings
from mutx_guardrail_client.tls import ReloadingContext


@pytest.fixture
def files(tmp_path):
    authority = Authority(tmp_path, "tenant")
    both = authority.issue("agent-a", into=tmp_path / "agent.pem")
    return TlsFiles(both, both, authority.file)


def variables(files, **more):
    whole = {
        "URL": "https://guard:8443", "CERTIFICATE": str(files.certificate), "KEY": str(files.key), "CA": str(files.ca),
        "AGENT": "agent-a", "TIMEOUT_MS": "250",
    }  # fmt: skip
    return {f"MUTX_GUARD_{name}": value for name, value in (whole | more).items()}


def test_all_that_is_set_is_read(files):
    settings = read_settings(variables(files))

    assert (settings.url, settings.tls, settings.agent, settings.timeout_s) == (
        "https://guard:8443",
        files,
        "agent-a",
        0.25,
    )


def test_an_address_alone_is_enough_on_loopback():
    settings = read_settings(
        {"MUTX_GUARD_URL": "http://127.0.0.1:8443", "PATH": "/bin", "MUTX_GUARDRAIL_PORT": "1"}
    )

    assert (settings.tls, settings.agent, settings.timeout_s) == (None, "", 10)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("URL", "", "is not set"),
        ("URL", "http://guard:8443", "plain http off loopback"),
        ("URL", "http://localhost.evil:8443", "plain http off loopback"),
        ("URL", "http://127.0.0.1:8443", "do not go together"),
        ("URL", "ftp://guard", "is no http or https URL"),
        ("URL", "https://u:p@guard", "holds more than a host"),
        ("URL", "https://guard/v1", "is no http or https URL"),
        ("URL", "https://guard:99999999", "is no URL"),
        ("CERTIFICATE", "", "is not set"),
        ("KEY", "/nowhere", "names no file"),
        ("CA", "", "is not set"),
        ("AGENT", "Agent A", "is no host label"),
        ("TIMEOUT_MS", "soon", "is no whole number"),
        ("TIMEOUT_MS", "0", "is out of bounds"),
        ("TIMEOUT_MS", "600001", "is out of bounds"),
        ("TIMOUT_MS", "1", "is not known"),
    ],
)
def test_a_wrong_variable_is_named(files, name, value, message):
    with pytest.raises(SettingsError, match=message) as caught:
        read_settings(variables(files, **{name: value}))

    assert caught.value.variable == f"MUTX_GUARD_{name}"


def test_https_without_certificates_is_refused():
    with pytest.raises(SettingsError, match="do not go together"):
        read_settings({"MUTX_GUARD_URL": "https://guard:8443"})


def test_files_that_do_not_serve_are_told_at_the_start(files, tmp_path):
    (tmp_path / "agent.pem").write_text("-----BEGIN CERTIFICATE-----\n")

    with pytest.raises(SettingsError, match="cannot be used"):
        GuardClient.from_environment(variables(files))


def test_a_replaced_file_is_taken_up_and_half_a_file_is_not(files, tmp_path, caplog):
    reloading = ReloadingContext(files)
    first = reloading.current()

    (tmp_path / "agent.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    during = [reloading.current(), reloading.current()]
    Authority(tmp_path, "tenant").issue("agent-a", into=tmp_path / "agent.pem")
    after = reloading.current()

    assert during == [first, first]
    assert after is not first
    assert reloading.current() is after
    assert caplog.text.count("cannot be used") == 1


EXTRAS = {
    "asgi.py": {"starlette"},
    "asgi_response.py": {"starlette"},
    "chat_model.py": {"langchain_core", "pydantic"},
    "conversation.py": {"langchain_core"},
    "model_answer.py": {"langchain_core"},
    "langchain.py": {"langchain", "langchain_core", "langgraph"},
}


def test_an_agent_installs_no_model():
    """The client imports the guardrail nowhere, and what it needs beside httpx2 only in the modules of its extras."""
    own = Path(mutx_guardrail_client.__file__).parent
    found = {file.name: imported(file) - set(sys.stdlib_module_names) for file in own.glob("*.py")}

    assert found["transport.py"] == {"httpx2", "mutx_guardrail_client"}
    for name, names in found.items():
        assert names - EXTRAS.get(name, set()) <= {"httpx2", "mutx_guardrail_client"}, name


def imported(file):
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names
