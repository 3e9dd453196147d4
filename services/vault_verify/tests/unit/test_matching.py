"""Every field, and no other: how an answer is compared with what the manifest says."""

from __future__ import annotations

import pytest
from mutx_vault_verify.matching import differences, fill

SAME = [
    ({"a": 1}, {"a": 1}), ([1, "x"], [1, "x"]), (None, None), ("https://{*}:8200", "https://10.0.1.5:8200"),
    ({"a": {"{any}": True}}, {"a": {"b": [1]}}), ({"{empty}": True}, None), ({"{empty}": True}, []),
    ({"?a": 1}, {}), ({"?a": 1}, {"a": 1}), ({"{between}": [1, 5]}, 5),
    ({"{one of}": ["", "/p"]}, "/p"), ({"{words}": {"never": ["root"]}}, "a, b"),
]  # fmt: skip
OTHER = [
    ({"a": 1}, {"a": 1, "b": 2}, "b is 2, and should not be there"),
    ({"a": 1, "b": 2}, {"a": 1}, "b is missing"),
    ({"?a": 1}, {"a": 2}, "a is 2, not 1"),
    ({"?a": 1}, {"?a": 1}, "?a is 1, and should not be there"),
    ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, "a.b[1] is 3, not 2"),
    ({"a": [1]}, {"a": [1, 2]}, "a is [1, 2], not [1]"),
    ({"a": 1}, {"a": True}, "a is true, not 1"),
    ({"a": 0}, {"a": False}, "a is false, not 0"),
    ({"a": []}, {"a": None}, "a is null, not []"),
    ({"a": "https://{*}:8200"}, {"a": "https://x/y:8200"}, "a is https://x/y:8200, not https://{*}:8200"),
    ({"a": "x.y"}, {"a": "xzy"}, "a is xzy, not x.y"),
    ({"a": {"{empty}": True}}, {"a": 0}, "a is 0, and should be empty"),
    ({"a": {"{between}": [1, 5]}}, {"a": 0}, "a is 0, not 1 to 5"),
    ({"a": {"{one of}": ["", "/p"]}}, {"a": "/q"}, 'a is /q, not one of ["", "/p"]'),
    ({"a": {"{between}": [0, 5]}}, {"a": True}, "a is true, not 0 to 5"),
    ({"a": {"{words}": {"never": ["root", ""]}}}, {"a": "x,root"}, 'a is x,root, and should name none of ["root", ""]'),
    ({"a": {"{words}": {"never": [""]}}}, {"a": ""}, 'a is , and should name none of [""]'),
    ({"a": {"{words}": {"never": []}}}, {"a": None}, "a is null, and should name none of []"),
    ({"a": {"b": 1}}, {"a": 1}, 'a is 1, not {"b": 1}'),
    (1, 2, "is 2, not 1"),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "found"), SAME)
def test_what_fits_has_no_differences(expected, found):
    assert list(differences(expected, found)) == []


@pytest.mark.parametrize(("expected", "found", "said"), OTHER)
def test_what_does_not_fit_is_said_with_its_place(expected, found, said):
    assert list(differences(expected, found)) == [said]


def test_marks_are_filled_in_names_too_and_no_others():
    filled = fill({"{host}/x": ["{host}", {"{any}": True}, 7]}, {"host": "acme-agent-1"})

    assert filled == {"acme-agent-1/x": ["acme-agent-1", {"{any}": True}, 7]}
