"""Just-in-time access by the CLI: on the coordination server's own API, for a person's real device."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.tailnet import running, tailnet_programs
from tests.support.tailnet_checkout import Tailnet

OPERATOR, REASON = "alice@mutx.example", "INC-42: agent does not start"
READY_WITHIN_S = 30

pytestmark = pytest.mark.timeout(300)


@contextmanager
def device_of(tailnet: Tailnet, person: str, folder: Path) -> Iterator[None]:
    """Log a device in: a real tailscaled without an interface."""
    programs = tailnet_programs()
    asked = {
        "capabilities": {"devices": {"create": {"preauthorized": True}}},
        "expirySeconds": 600,
        "user": person,
    }
    key = tailnet.ask("POST", "tailnet/-/keys", json=asked).json()["key"]
    (folder / "key").write_text(key)
    daemon = (
        str(programs / "tailscaled"), "--tun=userspace-networking", f"--statedir={folder}",
        f"--socket={folder / 's'}", "--port=0", "--no-logs-no-support",
    )  # fmt: skip
    up = [
        str(programs / "tailscale"), f"--socket={folder / 's'}", "up", f"--auth-key=file:{folder / 'key'}",
        f"--login-server={tailnet.login_server}", "--hostname=laptop", "--timeout=20s",
    ]  # fmt: skip
    with running(*daemon, log=folder / "log"):
        deadline = time.monotonic() + READY_WITHIN_S
        while subprocess.run(up, capture_output=True, check=False).returncode != 0:
            assert time.monotonic() < deadline, (folder / "log").read_text(errors="replace")[-2000:]
            time.sleep(0.2)
        yield


def test_an_operator_has_leave_for_a_while_and_it_is_kept_why(tailnet: Tailnet, tmp_path: Path) -> None:
    run = tailnet.checkout.run
    tailnet.register("acme", "globex")
    profile = tailnet.checkout.profile("by-leave", tailnet={"operator_access": "by-leave"})
    by_leave = ("--environment", profile)
    run("tailnet", "apply", *by_leave)
    grant = ("tailnet", "grant", OPERATOR, "acme", "--for", "1h30m", "--reason", REASON)
    assert "error[leave-no-device]" in run(*grant, *by_leave, expect=4).stderr
    assert "error[leave-not-needed]" in run(*grant, expect=4).stderr

    with device_of(tailnet, OPERATOR, tmp_path):
        before = datetime.now(UTC).replace(microsecond=0)
        given = tailnet.checkout.json(*grant, *by_leave)
        (granted,) = tailnet.checkout.json("tailnet", "granted", *by_leave)["granted"]
        taken = tailnet.checkout.json("tailnet", "revoke", OPERATOR, "acme", *by_leave)
        after = tailnet.checkout.json("tailnet", "granted", *by_leave)["granted"]

    until = datetime.fromisoformat(granted["until"])
    assert timedelta(0) <= until - before - timedelta(minutes=90) < timedelta(seconds=60)
    assert (granted["tenant"], granted["login"]) == ("acme", OPERATOR)
    assert [device["until"] for device in given["devices"]] == [granted["until"]]
    assert (taken["devices"], after) == (1, [])
    question = ("tailnet", "reach", OPERATOR, "tag:t-acme-guard:22", *by_leave)
    assert run(*question, expect=6).stdout.startswith("no")
    assert run(*question, "--attribute", "custom:mutx_acme=true").stdout.startswith("yes")
    # What is given and taken is no write of the policy: the next run knows its own.
    assert tailnet.checkout.json("tailnet", "apply", *by_leave)["policy_written"] is False
