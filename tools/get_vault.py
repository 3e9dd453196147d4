"""Get HashiCorp's server for the long tests, built from its Go module.

The version is the one in tools/vault/go.mod; the result lies in the cache beside the Pulumi engine's, by version.
`.venv/bin/python tools/get_vault.py` prints where on standard output. Only tests marked `full` need it: all others
run on OpenBao, whose binary comes as a package.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from console import render_error, say, signals_as_exceptions
from go_build import GoProgram, build, kept, module_version
from places import with_home

MODULE = Path(__file__).resolve().parent / "vault"

from mutx_infra.errors import MutxInfraError  # noqa: E402 -- `places` says where it lies
from mutx_infra.settings import cache_directory  # noqa: E402

PACKAGE = "github.com/hashicorp/vault"
SERVER = "vault"
# Of the engines and logins those that a tenant's Vault has; the others take twice as long.
_FLAGS = ("-tags", "minimal", "-ldflags", "-s -w")
_DIGEST_LENGTH = 12


def main() -> int:
    """Run the tool."""
    with signals_as_exceptions():
        try:
            home = ensure_vault(with_home(os.environ))
        except MutxInfraError as error:
            say(render_error(error.code, error.message, error.detail, error.remedy))
            return error.exit_status
    say(f"HashiCorp Vault {vault_version()}: {home}")
    sys.stdout.write(f"{home}\n")
    return 0


def vault_version(module_file: Path = MODULE / "go.mod") -> str:
    """Read the version from go.mod, the one place that says it."""
    return module_version(module_file, PACKAGE, "vault")


def vault_home(variables: Mapping[str, str]) -> Path:
    """Return where the server lies, or would: by its version, and by those of all that it is made of."""
    parts = [(MODULE / "go.mod").read_bytes(), (MODULE / "go.sum").read_bytes(), repr(_FLAGS).encode()]
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()
    return cache_directory(variables) / "vault" / f"{vault_version()}-{digest[:_DIGEST_LENGTH]}"


def ensure_vault(variables: Mapping[str, str]) -> Path:
    """Return the directory of the server; built where it is not there yet.

    Raises:
        SettingsError: the cache cannot be written, or Go is missing or too old.
        OutsideError: the build failed.
    """

    def make(made: Path, scratch: Path) -> None:
        target = made / SERVER
        build(program(), target, scratch, variables, target.is_file)

    return kept(vault_home(variables), "HashiCorp's server", make)


def program() -> GoProgram:
    """Return what is built."""
    return GoProgram(
        module=MODULE,
        package=PACKAGE,
        title=f"HashiCorp Vault {vault_version()}",
        duration="7 to 20 minutes on 2 cores, once",
        flags=_FLAGS,
        code="vault",
        otherwise="; then run the same command again",
    )


if __name__ == "__main__":
    sys.exit(main())
