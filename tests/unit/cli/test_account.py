"""`mutx-infra account`: documents for IAM, and nothing odd in them."""

from __future__ import annotations

import json

import pytest
from mutx_infra.cli.app import app
from typer.testing import CliRunner


def test_the_boundary_of_a_tenant_is_printed() -> None:
    done = CliRunner().invoke(app, ["account", "boundary", "acme"])

    assert done.exit_code == 0
    deny = json.loads(done.stdout)["Statement"][1]
    assert deny["Condition"] == {"StringEquals": {"aws:ResourceTag/mutx:tenant": "acme"}}


@pytest.mark.parametrize(
    "arguments",
    [
        ["boundary", "../x"],
        ["boundary", "*"],
        ["policy", "--region", "mars"],
        ["policy", "--region", "eu-west-1", "--account", "12"],
    ],
    ids=" ".join,
)
def test_what_is_no_name_is_refused(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["account", *arguments])

    assert done.exit_code == 2
