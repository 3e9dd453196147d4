"""The driver of a guard's GPU: asked of apt, dpkg and the driver itself. Not exercised on a machine with a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mutx_infra.compliance.conftest import Host, Unit
from mutx_infra.compliance.plugin import Look

pytestmark = pytest.mark.roles("guard")

VENDOR, DISPLAY = "0x10de", "0x03"
SOURCES = "/etc/apt/sources.list.d/nvidia-*.sources"


@pytest.fixture(scope="module")
def has_gpu(host: Host) -> bool:
    """Whether an NVIDIA display controller is on the PCI bus."""
    text = host.run("cd /sys/bus/pci/devices && for d in *; do cat $d/class $d/vendor | xargs; done").stdout
    return any(line.startswith(DISPLAY) and line.endswith(VENDOR) for line in text.splitlines())


@pytest.fixture(autouse=True)
def _where_a_gpu_is(has_gpu: bool, observe: Look) -> None:
    if not has_gpu:
        observe.not_applicable("this machine has no NVIDIA GPU")


@pytest.mark.control("gpu-02")
def test_the_vendor_is_trusted_for_its_repositories_alone(host: Host, observe: Look) -> None:
    signed = host.run(f"grep -h ^Signed-By: {SOURCES}").stdout.split()[1::2]
    everywhere = host.run("ls /etc/apt/trusted.gpg.d | grep -i -E 'nvidia|cuda'").stdout.split()

    observe(
        {"signed by": signed, "trusted for everything": everywhere},
        wanted="a keyring of its own for each repository, and none for everything",
        is_met=bool(signed) and not everywhere,
    )


@pytest.mark.control("gpu-03")
def test_nouveau_is_not_loaded(host: Host, observe: Look) -> None:
    loaded = host.run("lsmod | cut -d' ' -f1 | grep -x -E 'nouveau|nvidia'").stdout.split()

    observe(loaded, wanted=["nvidia"])


@pytest.mark.control("gpu-04")
def test_the_driver_has_the_chosen_version_and_answers(
    host: Host, variables: dict[str, Any], observe: Look
) -> None:
    chosen = str(variables.get("gpu_node_driver_version", "")).partition("-")[0]
    asked = host.run("nvidia-smi --query-gpu=driver_version --format=csv,noheader")
    seen = sorted(set(asked.stdout.split()))

    observe(
        seen,
        wanted=[chosen] if chosen else "one version",
        is_met=asked.rc == 0 and seen == [chosen or seen[0]],
    )


@pytest.mark.control("gpu-05")
def test_the_gpu_stays_initialised(unit: Callable[[str], Unit], observe: Look) -> None:
    daemon = unit("nvidia-persistenced.service")

    observe(str(daemon), wanted="enabled and active", is_met=daemon.runs_from_boot)
