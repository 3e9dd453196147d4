"""Who gets into a host that has just joined, and who does not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.machines import SSH, SSH_KEYGEN, Hosts


def keygen(*arguments: str) -> None:
    subprocess.run([SSH_KEYGEN, "-q", *arguments], check=True, stdin=subprocess.DEVNULL, timeout=10)


@pytest.fixture
def stranger(hosts: Hosts, tmp_path: Path) -> Path:
    """A key of nobody's, without a certificate."""
    key = tmp_path / "stranger"
    keygen("-t", "ed25519", "-N", "", "-f", str(key))
    return key


def comes_with(hosts: Hosts, key: Path, certificate: Path | None, user: str = "mutx") -> str:
    """What SSH complains of when somebody comes with a key; nothing where it gets in."""
    options = [f"-oIdentityFile={key}", f"-oCertificateFile={certificate or '/dev/null'}", f"-oUser={user}"]
    config = hosts.files() / "ssh_config"
    plain = key.with_name("plain_config")
    kept = [
        line
        for line in config.read_text().splitlines()
        if not line.strip().startswith(("IdentityFile", "CertificateFile"))
    ]
    plain.write_text("\n".join([*kept, ""]))
    done = subprocess.run(
        [SSH, "-F", str(plain), *options, "trial-1", "true"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stderr


def signed(hosts: Hosts, key: Path, principal: str, validity: str = "-1m:+5m") -> Path:
    """Have the sandbox's authority sign a key."""
    authority = hosts.checkout.root / ".mutx/sandbox/ssh_authority"
    keygen("-s", str(authority), "-I", "test", "-n", principal, "-V", validity, f"{key}.pub")
    return key.with_name(f"{key.name}-cert.pub")


def test_the_converge_account_gets_in_by_certificate_and_becomes_root(hosts: Hosts) -> None:
    assert hosts.answer("trial-1", "id -un; sudo id -un; hostname").split() == ["mutx", "root", "trial-1"]


def test_a_key_without_a_certificate_is_refused(hosts: Hosts, stranger: Path) -> None:
    assert "Permission denied (publickey)" in comes_with(hosts, stranger, None)


def test_the_authority_lets_another_tenants_certificate_in_nowhere_else(hosts: Hosts, stranger: Path) -> None:
    assert comes_with(hosts, stranger, signed(hosts, stranger, "converge@trial")) == ""

    assert "Permission denied" in comes_with(hosts, stranger, signed(hosts, stranger, "converge@globex"))


def test_a_certificate_that_is_over_is_refused(hosts: Hosts, stranger: Path) -> None:
    over = signed(hosts, stranger, "converge@trial", "-10m:-5m")

    assert "Permission denied" in comes_with(hosts, stranger, over)


def test_a_certificate_of_another_authority_is_refused(hosts: Hosts, stranger: Path) -> None:
    other = stranger.with_name("other_authority")
    keygen("-t", "ed25519", "-N", "", "-f", str(other))
    keygen("-s", str(other), "-I", "test", "-n", "converge@trial", "-V", "-1m:+5m", f"{stranger}.pub")

    assert "Permission denied" in comes_with(hosts, stranger, stranger.with_name("stranger-cert.pub"))


def test_root_is_refused_with_the_right_certificate(hosts: Hosts, stranger: Path) -> None:
    certificate = signed(hosts, stranger, "root,converge@trial")

    assert "Permission denied" in comes_with(hosts, stranger, certificate, user="root")


def test_a_host_with_another_key_than_it_left_is_not_spoken_to(hosts: Hosts, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    ours = (hosts.files() / "known_hosts").read_text().splitlines()
    keys = {line.split()[0]: line.split()[2] for line in ours}
    known.write_text(f"trial-1 ssh-ed25519 {keys['trial-2']}\n")

    done = hosts.ssh("trial-1", "true", f"-oUserKnownHostsFile={known}")

    assert done.returncode != 0
    assert "Host key verification failed" in done.stderr or "IDENTIFICATION HAS CHANGED" in done.stderr


def test_a_host_whose_key_is_not_known_is_not_spoken_to(hosts: Hosts) -> None:
    done = hosts.ssh("trial-1", "true", "-oUserKnownHostsFile=/dev/null")

    assert "Host key verification failed" in done.stderr


def test_what_ssh_is_given_is_for_its_owner_alone(hosts: Hosts) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in hosts.files().iterdir()}

    assert modes.pop("id_ed25519.pub") == modes.pop("id_ed25519-cert.pub") == 0o644
    assert set(modes.values()) == {0o600}
    assert hosts.files().stat().st_mode & 0o777 == 0o700
