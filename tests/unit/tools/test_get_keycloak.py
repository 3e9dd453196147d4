"""What Keycloak is got by, and what is left where it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from get_keycloak import VERSION, ensure_keycloak, keycloak_home

from mutx_infra.errors import OutsideError, SettingsError


def variables_with(tmp_path: Path, **programs: str) -> dict[str, str]:
    """Return an environment in which only these programs are found, each a shell script."""
    for name, script in programs.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return {"MUTX_INFRA_CACHE": str(tmp_path / "cache"), "PATH": str(tmp_path / "bin")}


def test_it_lies_by_its_version(tmp_path: Path) -> None:
    assert keycloak_home({"MUTX_INFRA_CACHE": str(tmp_path)}).name.startswith(f"{VERSION}-")


def test_without_maven_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        ensure_keycloak(variables_with(tmp_path))

    assert caught.value.code == "maven-missing"


ARCHIVE = f"""
for argument in "$@"; do case "$argument" in -DoutputDirectory=*) folder="${{argument#*=}}";; esac; done
echo another file > "$folder/keycloak-quarkus-dist-{VERSION}.zip"
"""


@pytest.mark.parametrize(
    ("maven", "detail"),
    [
        ("echo no such artifact; exit 1", "no such artifact"),
        (ARCHIVE, "its archive is another file than it should be"),
    ],
    ids=["Maven fails", "another file"],
)
def test_what_is_not_keycloak_is_not_kept(tmp_path: Path, maven: str, detail: str) -> None:
    variables = variables_with(tmp_path, mvn=maven, java="exit 0")

    with pytest.raises(OutsideError) as caught:
        ensure_keycloak(variables)

    assert (caught.value.code, caught.value.detail) == ("keycloak-failed", detail)
    assert not keycloak_home(variables).exists()
