"""The tools reach nothing and end soon, whatever a model puts in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_reference_agent.tools import calculate, tell_time


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("6 * 7", "42"),
        ("-2 ** 2", "-4"),
        ("(1 + 2) / 4", "0.75"),
        ("7 // 2 + 7 % 2", "4"),
        (" 1e3 ", "1000.0"),
    ],
)
def test_arithmetic_is_worked_out(expression, result):
    assert calculate(expression) == result


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os')",
        "9**9**9**9",
        "2**65",
        "'a'*9",
        "True",
        "1/0",
        "(-1)**0.5",
        "x",
        "",
        "1" * 300,
        "(" * 150,
        "0**-1",
        "1e400",
        "[1][0]",
    ],
)
def test_anything_else_is_an_error_in_words(expression):
    assert calculate(expression).startswith("error: ")


@given(st.text("0123456789.+-*/%()e ", max_size=60))
def test_no_expression_raises(expression):
    assert isinstance(calculate(expression), str)


@pytest.mark.parametrize("zone", ["", "Nowhere/Town", "../../etc/passwd", "/etc/passwd", "\0"])
def test_a_zone_that_is_none_is_an_error_in_words(zone):
    assert tell_time(zone) == "error: there is no such zone"
    assert tell_time("Europe/Paris")[-6:] in ("+01:00", "+02:00")
