"""`playbooks/image.yml`, really run: where the image has what it bakes, and in a root that has next to nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mutx_sandbox.machines.packages import SUITES, role_packages
from mutx_sandbox.machines.rootfs import known_sources, mirror_lines
from mutx_sandbox.machines.tools import which

from tests.support.checkout import ROOT
from tests.support.machines import Hosts
from tests.support.playbook import Playbook

IMAGE = ROOT / "playbooks" / "image.yml"
WITHOUT_TAILSCALE = ("-e", "image_tailscale=false")
LEAN = ('APT::Install-Recommends "false"', 'APT::Sandbox::User "root"')
BARE = "systemd,python3,python3-apt,ca-certificates,debian-archive-keyring,passwd"


def test_what_the_sandbox_bakes_is_what_the_playbook_bakes(hosts: Hosts, tmp_path: Path) -> None:
    playbook = Playbook(hosts, ("trial-1",), tmp_path, play=IMAGE)

    ahead = playbook.run("--check", "--diff", *WITHOUT_TAILSCALE)
    real = playbook.run(*WITHOUT_TAILSCALE)

    assert (ahead.status, real.status) == (0, 0), real.text
    assert (ahead.changed(), real.changed()) == ({"trial-1": 0}, {"trial-1": 0}), ahead.text


@pytest.fixture(params=SUITES)
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A root with Python and apt, in which this machine's Ansible can be started."""
    root = tmp_path / "root"
    subprocess.run(
        [which("mmdebstrap") or "mmdebstrap", "--mode=root", "--variant=minbase", "--quiet", f"--include={BARE}",
         *(f"--aptopt={option}" for option in LEAN), request.param, str(root), "-"],
        input=mirror_lines(known_sources(), request.param), text=True, check=True, timeout=600,
    )  # fmt: skip
    lent = [ROOT, Path(sys.prefix), Path(sys.base_prefix)]
    mounts = " && ".join(
        f"mkdir -p '{root}{place}' && mount --bind '{place}' '{root}{place}'" for place in dict.fromkeys(lent)
    )
    (tmp_path / "enter").write_text(
        f"{mounts} && mount -t proc proc '{root}/proc' && mount --bind /dev '{root}/dev' && "
        f"cp /etc/resolv.conf '{root}/etc/resolv.conf' && exec chroot '{root}' \"$@\"\n"
    )
    return root


@pytest.mark.full
@pytest.mark.timeout(1500)
def test_it_bakes_a_root_that_has_next_to_nothing(bare: Path) -> None:
    command = [
        which("unshare") or "unshare", "--mount", "--propagation", "private", "sh", str(bare.parent / "enter"),
        "env", "LC_ALL=C.UTF-8", "HOME=/root", f"PATH={Path(sys.prefix) / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
        str(Path(sys.prefix) / "bin/ansible-playbook"), "-i", "localhost,", "-c", "local",
        str(IMAGE), *WITHOUT_TAILSCALE,
    ]  # fmt: skip

    first = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)

    assert first.returncode == 0, first.stdout + first.stderr
    assert "changed=0" in second.stdout
    installed = (bare / "var/lib/dpkg/status").read_text(encoding="utf-8")
    assert {
        name for name in role_packages() if f"Package: {name}\nStatus: install ok installed" not in installed
    } == set()
    assert (bare / "usr/libexec/mutx/mutx-join").stat().st_mode & 0o111
    assert not list((bare / "etc/ssh").glob("ssh_host_*")), "an image has no host key"
