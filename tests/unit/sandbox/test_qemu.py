"""Virtual machines, as far as none is started: their kernel's layer, their commands, and what is believed of KVM."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from mutx_sandbox.machines import qemu
from mutx_sandbox.machines.debian_kernel import initial_root, load_order
from mutx_sandbox.machines.machine import BackendName, Machine, Wire
from mutx_sandbox.machines.own_kernel import mask, unmask, write_start

SUBNET = IPv4Network("10.63.255.0/24")
DEPENDENCIES = """\
kernel/a/far.ko:
kernel/a/middle-one.ko: kernel/a/far.ko
kernel/b/near.ko.xz: kernel/a/middle-one.ko kernel/a/far.ko
"""


def a_machine(*, tailnet: bool = True, accelerated: bool = False) -> Machine:
    wire = Wire(vpc="trial", block=SUBNET, subnet=SUBNET, address=IPv4Address("10.63.255.10"))
    return Machine(
        name="trial-1", instance="i-1", account="1", region="r", wire=wire, tailnet=tailnet,
        backend=BackendName.QEMU, accelerated=accelerated,
    )  # fmt: skip


def members(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Read a cpio archive by the format's own description."""
    found, at = {}, 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, length = fields[1], fields[6], fields[11]
        name = archive[at + 110 : at + 110 + length - 1].decode()
        start = (at + 110 + length + 3) // 4 * 4
        found[name] = (mode, archive[start : start + size])
        at = (start + size + 3) // 4 * 4
        if name == "TRAILER!!!":
            assert at == len(archive)
            return found


class TestInitialRoot:
    def test_what_was_put_in_comes_out(self) -> None:
        found = members(initial_root(b"shell", [("one.ko", b"1"), ("two.ko", b"two")]))

        assert found["bin/busybox"] == (0o100755, b"shell")
        assert found["modules/two.ko"] == (0o100644, b"two")
        assert found["modules/order"][1] == b"one.ko\ntwo.ko\n"
        assert found["init"][0] == 0o100755
        assert found["root"][0] == 0o40755

    def test_it_is_the_same_wherever_it_is_made(self) -> None:
        assert initial_root(b"shell", []) == initial_root(b"shell", [])

    def test_a_module_comes_after_what_it_needs(self) -> None:
        assert load_order(DEPENDENCIES, ("near", "far")) == (
            "kernel/a/far.ko", "kernel/a/middle-one.ko", "kernel/b/near.ko.xz",
        )  # fmt: skip

    def test_a_name_with_a_dash_is_the_one_with_an_underscore(self) -> None:
        assert load_order(DEPENDENCIES, ("middle_one",))[-1] == "kernel/a/middle-one.ko"


class TestCommand:
    def test_a_root_with_a_comma_and_a_space_is_one_option(self, tmp_path: Path) -> None:
        command = qemu.Qemu().command(a_machine(), tmp_path / "a, b", tmp_path)

        shared = command[command.index("-fsdev") + 1]
        assert f"path={tmp_path}/a,, b,security_model=" in shared

    @pytest.mark.parametrize(("tailnet", "cards"), [(True, 2), (False, 1)])
    def test_a_machine_has_a_card_for_each_cable(self, tmp_path: Path, tailnet: bool, cards: int) -> None:
        machine = a_machine(tailnet=tailnet)

        command = qemu.Qemu().command(machine, tmp_path, tmp_path)

        assert len([word for word in command if word.startswith("virtio-net-pci")]) == cards
        assert any(word.endswith(f"mac={machine.mac}") for word in command)

    @pytest.mark.parametrize(("accelerated", "accelerator"), [(True, "kvm"), (False, "tcg")])
    def test_the_processor_is_emulated_where_kvm_does_not_work(
        self, tmp_path: Path, accelerated: bool, accelerator: str
    ) -> None:
        command = qemu.Qemu().command(a_machine(accelerated=accelerated), tmp_path, tmp_path)

        assert command[command.index("-accel") + 1] == accelerator


class TestStart:
    def test_interfaces_get_their_names_before_their_addresses(self, tmp_path: Path) -> None:
        write_start(a_machine(), tmp_path, ("eth0", "eth1"))

        lines = (tmp_path / "etc/mutx/own-kernel-wire").read_text("utf-8").splitlines()
        assert lines[0] == "link set eth1 name tailscale0"
        assert not [line for line in lines if "name eth0" in line]
        assert (tmp_path / "usr/libexec/mutx/own-kernel-init").stat().st_mode & 0o111

    def test_what_one_backend_masks_another_takes_back_and_nobody_elses(self, tmp_path: Path) -> None:
        units = tmp_path / "etc/systemd/system"
        units.mkdir(parents=True)
        (units / "own.service").write_text("[Unit]\n", "utf-8")

        mask(tmp_path, ["one.service"])
        assert (units / "one.service").readlink() == Path("/dev/null")
        unmask(tmp_path, ["one.service", "own.service", "never.service"])

        assert sorted(path.name for path in units.iterdir()) == ["own.service"]


class TestProbe:
    @pytest.fixture
    def kernel(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A layer, on a machine that offers KVM, with a program in QEMU's place that the test writes."""
        monkeypatch.setattr(qemu, "kvm_is_offered", lambda: True)
        program = tmp_path / "emulator"
        monkeypatch.setattr(qemu, "which", lambda _: str(program))
        made = tmp_path / "cache/kernel"
        made.mkdir(parents=True)
        return made

    @staticmethod
    def emulator(kernel: Path, script: str) -> None:
        program = kernel.parent.parent / "emulator"
        program.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
        program.chmod(0o755)

    @pytest.mark.parametrize(
        ("script", "works"),
        [
            ("echo SeaBIOS; echo mutx-probe-alive", True),
            ("echo mutx-probe-alive; exit 1", False),
            ("echo 'Kernel command line: mutx-probe-alive'", False),
            ("exec sleep 60", False),
        ],
        ids=["alive", "fails", "only named", "hangs"],
    )
    def test_a_kernel_that_lives_and_powers_off_is_the_proof(
        self, kernel: Path, script: str, works: bool
    ) -> None:
        self.emulator(kernel, script)

        assert qemu.is_accelerated(kernel, 0.5 if "sleep" in script else 10) is works

    def test_the_answer_holds_until_this_machine_starts_anew(
        self, kernel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        self.emulator(kernel, "echo mutx-probe-alive")
        assert qemu.is_accelerated(kernel)
        self.emulator(kernel, "exit 1")
        assert qemu.is_accelerated(kernel)

        boot = tmp_path / "boot_id"
        boot.write_text("another", "ascii")
        monkeypatch.setattr(qemu, "_BOOT_ID", boot)

        assert not qemu.is_accelerated(kernel)

    def test_without_kvm_nothing_is_started(self, kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(qemu, "kvm_is_offered", lambda: False)

        assert not qemu.is_accelerated(kernel)
