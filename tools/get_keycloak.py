"""Get Keycloak for the control plane's long tests, as its package for Maven has it, ready to start.

`.venv/bin/python tools/get_keycloak.py` prints where on standard output; it lies in the cache beside the Pulumi
engine, by version. Only tests marked `full` need it: all others sign in at `oidc-provider`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from console import render_error, say, signals_as_exceptions
from go_build import kept
from places import with_home

from mutx_infra.errors import MutxInfraError, OutsideError, SettingsError
from mutx_infra.settings import cache_directory

VERSION = "26.7.3"
SHA256 = "27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f"
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy"
_ARTIFACT = "org.keycloak:keycloak-quarkus-dist:{version}:zip"
# What a start would otherwise settle anew each time: a database in memory, and no cluster, whose ports would be open.
_BUILD = ("build", "--db=dev-mem", "--cache=local", "--health-enabled=false")
_LIMIT_S = 900
_DIGEST_LENGTH = 12


def main() -> int:
    """Run the tool."""
    with signals_as_exceptions():
        try:
            home = ensure_keycloak(with_home(os.environ))
        except MutxInfraError as error:
            say(render_error(error.code, error.message, error.detail, error.remedy))
            return error.exit_status
    say(f"Keycloak {VERSION}: {home}")
    sys.stdout.write(f"{home}\n")
    return 0


def keycloak_home(variables: Mapping[str, str]) -> Path:
    """Return where it lies, or would: by its version, and by how it was made ready."""
    digest = hashlib.sha256(repr((SHA256, _BUILD)).encode()).hexdigest()
    return cache_directory(variables) / "keycloak" / f"{VERSION}-{digest[:_DIGEST_LENGTH]}"


def ensure_keycloak(variables: Mapping[str, str]) -> Path:
    """Return the directory of Keycloak, which `bin/kc.sh start --optimized` starts; got where it is not there yet.

    Raises:
        SettingsError: the cache cannot be written, or Maven or Java is missing.
        OutsideError: it could not be had, is another file than it should be, or could not be made ready.
    """

    def make(made: Path, scratch: Path) -> None:
        for program in ("mvn", "java"):
            if shutil.which(program, path=variables.get("PATH")) is None:
                raise SettingsError(
                    f"{program} is needed to get Keycloak, and is not on PATH",
                    code="maven-missing",
                    remedy="install Maven and Java 17 or newer",
                )
        say(f"getting Keycloak {VERSION} (1 to 6 minutes, once) ...")
        artifact = f"-Dartifact={_ARTIFACT.format(version=VERSION)}"
        _run(["mvn", "-q", "-B", _PLUGIN, artifact, f"-DoutputDirectory={scratch}"], variables)
        archive = scratch / f"keycloak-quarkus-dist-{VERSION}.zip"
        if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
            raise _failed("its archive is another file than it should be")
        with zipfile.ZipFile(archive) as files:
            files.extractall(scratch)
        (scratch / f"keycloak-{VERSION}").rename(made)
        _run(["sh", str(made / "bin" / "kc.sh"), *_BUILD], variables)

    return kept(keycloak_home(variables), "Keycloak", make)


def _run(command: Sequence[str], variables: Mapping[str, str]) -> None:
    program = shutil.which(command[0], path=variables.get("PATH")) or command[0]
    try:
        done = subprocess.run(
            [program, *command[1:]], env=dict(variables), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=_LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _failed(f"not done in {_LIMIT_S} s") from None
    if done.returncode != 0:
        raise _failed("\n".join(done.stdout.splitlines()[-6:]) or "no word of why")


def _failed(detail: str) -> OutsideError:
    return OutsideError(
        f"Keycloak {VERSION} could not be got",
        code="keycloak-failed",
        detail=detail,
        remedy="check that Maven can reach its packages, then run the same command again",
    )


if __name__ == "__main__":
    sys.exit(main())
