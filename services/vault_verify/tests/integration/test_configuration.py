"""What the server's configuration file lets in is seen too, as far as the server says it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tenant_vault import TenantVault, vault_of

from mutx_infra.byok import Product
from tests.support.vault import RunningVault

UNSAFE = """
raw_storage_endpoint = true
introspection_endpoint = true
unsafe_allow_api_audit_creation = true
audit "file" "second" {
  options {
    file_path = "%s"
  }
}
"""


@contextmanager
def vault_with(folder: Path, more: str) -> Iterator[TenantVault]:
    """Yield a Vault whose configuration has something added."""
    home = folder / "server"
    home.mkdir()
    server = RunningVault("acme", home)
    server.prepare()
    configuration = home / "server.hcl"
    configuration.write_text(configuration.read_text() + more)
    try:
        server.start()
        yield TenantVault(server, folder)
    finally:
        server.stop()


def test_what_the_configuration_opens_is_named(tmp_path):
    with vault_with(tmp_path, UNSAFE % (tmp_path / "second.log")) as vault:
        verdict = vault.verify()

    assert verdict.failing == {
        "setting sys/audit": "differs",
        "setting sys/config/state/sanitized": "differs",
    }
    assert "second/ is" in verdict.details("setting sys/audit")
    said = verdict.details("setting sys/config/state/sanitized")
    for field in ("raw_storage_endpoint", "introspection_endpoint", "unsafe_allow_api_audit_creation"):
        assert f"{field} is true, not false" in said


def test_a_registered_plugin_is_named(tmp_path):
    folder = (tmp_path / "plugins").resolve()
    folder.mkdir()
    binary = folder / "evil"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)

    with vault_with(tmp_path, f'\nplugin_directory = "{folder}"\n') as vault:
        with vault.as_admin() as admin:
            digest = hashlib.sha256(binary.read_bytes()).hexdigest()
            admin.write("sys/plugins/catalog/secret/evil", {"sha256": digest, "command": "evil"})
        verdict = vault.verify()

    assert verdict.failing == {"plugin secret/evil": "extra", "setting sys/config/state/sanitized": "differs"}


def test_an_audit_device_that_is_missing_is_named(tmp_path):
    with vault_with(tmp_path, "") as vault:
        configuration = vault.server.folder / "server.hcl"
        head, _, tail = configuration.read_text().partition("# Declared here")
        vault.server.stop()
        configuration.write_text(head + "initialize" + tail.partition("initialize")[2])
        vault.server.start()

        verdict = vault.verify()

    assert verdict.failing == {
        "setting sys/audit": "differs",
        "setting sys/config/state/sanitized": "differs",
    }
    assert verdict.details("setting sys/audit") == "file/ is missing"


MORE_OF_HASHICORP = """
raw_storage_endpoint = true
introspection_endpoint = true
experiments = ["events.alpha1"]
plugin_directory = "%s"
user_lockout "all" {
  disable_lockout = true
}
observations {
  ledger_path = "%s"
}
"""


PEER = """performance_multiplier = 1
  retry_join {
    leader_api_addr     = "https://127.0.0.9:8200"
    leader_ca_cert_file = "%s"
  }
"""


@pytest.mark.full
def test_a_node_of_hashicorp_s_that_knows_its_peers_passes(tmp_path):
    with vault_of(Product.VAULT, tmp_path) as vault:
        configuration = vault.server.folder / "server.hcl"
        vault.server.stop()
        peer = PEER % vault.server.plan.paths.certificate
        configuration.write_text(configuration.read_text().replace("performance_multiplier = 1\n", peer))
        vault.server.start()

        with vault.as_admin() as admin:
            shown = admin.read("sys/config/state/sanitized")
        verdict = vault.verify()

    assert shown is not None
    assert "retry_join" in shown["storage"]["raft"]
    assert (verdict.status, verdict.failing) == (0, {})


@pytest.mark.full
def test_what_hashicorp_s_configuration_opens_is_named(tmp_path):
    folder = (tmp_path / "plugins").resolve()
    folder.mkdir()
    binary = folder / "evil"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    with vault_of(Product.VAULT, tmp_path) as vault:
        configuration = vault.server.folder / "server.hcl"
        vault.server.stop()
        configuration.write_text(
            configuration.read_text() + MORE_OF_HASHICORP % (folder, tmp_path / "ledger.log")
        )
        vault.server.start()
        with vault.as_admin() as admin:
            digest = hashlib.sha256(binary.read_bytes()).hexdigest()
            admin.write("sys/plugins/catalog/secret/evil", {"sha256": digest, "command": "evil"})

        verdict = vault.verify()

    assert verdict.failing == {
        "plugin secret/evil": "extra",
        "setting sys/config/state/sanitized": "differs",
        "setting sys/experiments": "differs",
    }
    said = verdict.details("setting sys/config/state/sanitized")
    for field in ("raw_storage_endpoint", "introspection_endpoint", "experiments", "plugin_directory",
                  "user_lockout_configs", "observations"):  # fmt: skip
        assert f"{field} is " in said
