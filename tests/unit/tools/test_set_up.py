"""What the set-up hands to its tools."""

from __future__ import annotations

import pytest
from set_up import tool_variables


@pytest.mark.parametrize("name", ["VIRTUAL_ENV", "PYTHONPATH", "PIP_USER", "UV_PYTHON"])
def test_variables_that_redirect_the_tools_are_taken_away(tmp_path, name):
    assert name not in tool_variables({"HOME": str(tmp_path), name: "elsewhere"})


def test_uv_hears_of_the_mirror_and_the_certificates_that_pip_was_told(tmp_path):
    told = {"HOME": str(tmp_path), "PIP_INDEX_URL": "https://mirror.example/simple", "PIP_CERT": "/ca.pem"}

    made = tool_variables(told)

    assert (made["UV_DEFAULT_INDEX"], made["SSL_CERT_FILE"]) == ("https://mirror.example/simple", "/ca.pem")


def test_what_uv_was_told_itself_comes_first(tmp_path):
    told = {"HOME": str(tmp_path), "PIP_CERT": "/pip.pem", "SSL_CERT_FILE": "/own.pem"}

    assert tool_variables(told)["SSL_CERT_FILE"] == "/own.pem"
