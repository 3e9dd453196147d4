"""The reference pages that are made from the code say what the code says."""

from __future__ import annotations

import make_reference
import pytest


@pytest.mark.parametrize("name", sorted(make_reference.pages()))
def test_a_page_made_from_the_code_is_up_to_date(name: str) -> None:
    committed = (make_reference.REFERENCE / name).read_text(encoding="utf-8")

    assert committed == make_reference.pages()[name], "run: .venv/bin/python tools/make_reference.py"
