"""Get the parts of a real tailnet for tests: tailscaled as its vendor has it, and a small coordination server.

The vendor's packages cannot be had everywhere; its Go module can. The version is the one in tools/tailnet/go.mod; the
result lies in the cache beside the Pulumi engine's, by version. `.venv/bin/python tools/get_tailnet.py` prints where
on standard output.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from console import render_error, say, signals_as_exceptions
from go_build import GoProgram, build, go_variables, kept, module_version, usable_go
from places import with_home

ROOT = Path(__file__).resolve().parent.parent
MODULE = ROOT / "tools" / "tailnet"

from mutx_infra.errors import MutxInfraError  # noqa: E402 -- `places` says where it lies
from mutx_infra.settings import cache_directory  # noqa: E402

DAEMON, CLIENT, COORDINATION = "tailscaled", "tailscale", "coordination"
VENDOR_FILES = ("tailscaled.service", "tailscaled.defaults")
"""The unit and its settings, as the vendor's packages have them."""
# Left out: what no role here turns on, and what takes long to compile.
_OMITTED = ("aws", "bird", "completion", "drive", "kube", "systray", "taildrop", "tap", "webclient")
_OTHERWISE = "; then run the same command again"
_DIGEST_LENGTH = 12


def main() -> int:
    """Run the tool."""
    with signals_as_exceptions():
        try:
            home = ensure_tailnet(with_home(os.environ))
        except MutxInfraError as error:
            say(render_error(error.code, error.message, error.detail, error.remedy))
            return error.exit_status
    say(f"tailscaled {tailscale_version()} and a coordination server: {home}")
    sys.stdout.write(f"{home}\n")
    return 0


def tailscale_version(module_file: Path = MODULE / "go.mod") -> str:
    """Read the version from go.mod, the one place that says it."""
    return module_version(module_file, "tailscale.com", "tailnet")


def tailnet_home(variables: Mapping[str, str]) -> Path:
    """Return where the programs lie, or would: by version, and by what the coordination server is made of."""
    sources = sorted((MODULE / COORDINATION).glob("*.go"))
    parts = [MODULE / "go.sum", *(source for source in sources if not source.stem.endswith("_test"))]
    digest = hashlib.sha256(b"\0".join([*map(Path.read_bytes, parts), repr(_OMITTED).encode()])).hexdigest()
    return cache_directory(variables) / "tailnet" / f"{tailscale_version()}-{digest[:_DIGEST_LENGTH]}"


def ensure_tailnet(variables: Mapping[str, str]) -> Path:
    """Return the directory of the programs; built where they are not there yet.

    Raises:
        SettingsError: the cache cannot be written, or Go is missing or too old.
        OutsideError: a build failed.
    """

    def make(made: Path, scratch: Path) -> None:
        for program in programs():
            target = made / Path(program.package).name
            build(program, target, scratch, variables, target.is_file)
        (made / CLIENT).symlink_to(DAEMON)  # one program, told apart by its name
        _copy_vendor_files(made, variables)

    return kept(tailnet_home(variables), "tailscaled", make)


def programs() -> tuple[GoProgram, ...]:
    """Return what is built, the longest first: the rest finds its packages compiled."""
    version = tailscale_version()
    stamp = "tailscale.com/version"
    tags = ",".join(["ts_include_cli", *(f"ts_omit_{feature}" for feature in _OMITTED)])
    link = f"-s -w -X {stamp}.longStamp={version} -X {stamp}.shortStamp={version}"
    return (
        GoProgram(
            module=MODULE,
            package=f"tailscale.com/cmd/{DAEMON}",
            title=f"tailscaled {version}",
            duration="3 to 8 minutes on 2 cores, once",
            flags=("-tags", tags, "-ldflags", link),
            code="tailnet",
            otherwise=_OTHERWISE,
        ),
        GoProgram(
            module=MODULE,
            package=f"./{COORDINATION}",
            title="the coordination server",
            duration="a minute, once",
            flags=("-tags", tags, "-ldflags", "-s -w"),
            code="tailnet",
            otherwise=_OTHERWISE,
        ),
    )


def _copy_vendor_files(made: Path, variables: Mapping[str, str]) -> None:
    go = usable_go(programs()[0], variables)
    listed = subprocess.run(
        [go, "list", "-m", "-f", "{{.Dir}}", "tailscale.com"],
        env=go_variables(variables, None), cwd=MODULE, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in VENDOR_FILES:
        shutil.copyfile(Path(listed.stdout.strip()) / "cmd" / DAEMON / name, made / name)


if __name__ == "__main__":
    sys.exit(main())
