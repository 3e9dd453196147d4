"""The guardrail's reference page is what its models say."""

from __future__ import annotations

import make_guardrail_page


def test_the_page_is_as_new_as_the_models():
    assert make_guardrail_page.PAGE.read_text(encoding="utf-8") == make_guardrail_page.page(), (
        "run: .venv/bin/python tools/make_guardrail_page.py"
    )
