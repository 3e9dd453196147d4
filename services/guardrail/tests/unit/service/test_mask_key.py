"""The key of masks is read in its three forms, taken anew when it changes, and shown by nothing."""

from __future__ import annotations

import base64

import pytest
from mutx_guardrail.service.mask_key import MaskKeyFile, parse_key
from mutx_guardrail.service.watched_file import LOOK_EVERY_S
from mutx_service.settings import SettingsError

KEY, OTHER = bytes(range(100, 132)), bytes(range(150, 182))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def key_file(path, told=None):
    clock = Clock()
    events = told if told is not None else []
    return MaskKeyFile(path, lambda event, fields: events.append((event, fields)), clock), clock


@pytest.mark.parametrize("key", [KEY, KEY + OTHER], ids=["32", "64"])
@pytest.mark.parametrize(
    "written",
    [lambda k: k, lambda k: k.hex().encode(), base64.b64encode, lambda k: base64.b64encode(k) + b"\n"],
    ids=["bytes", "hexadecimal", "base64", "line"],
)
def test_a_key_is_read_in_each_form(key, written):
    assert parse_key(written(key)) == key


@pytest.mark.parametrize("content", [b"", b"short", bytes(33), b"x" * 200, base64.b64encode(bytes(16))])
def test_what_is_no_key_is_refused_by_its_length_alone(content):
    with pytest.raises(ValueError, match=f"^holds {len(content)} bytes$"):
        parse_key(content)


def test_a_key_that_comes_later_changes_and_goes_counts_without_a_restart(tmp_path):
    path, told = tmp_path / "mask.key", []
    keys, clock = key_file(path, told)
    seen = [keys()]

    for content in (KEY, base64.b64encode(OTHER), None):
        replace(path, content)
        clock.now += LOOK_EVERY_S
        seen.append(keys())

    assert seen == [None, KEY, OTHER, None]
    assert [event for event, _ in told] == [
        "mask-key-missing",
        "mask-key-taken",
        "mask-key-taken",
        "mask-key-missing",
    ]


def test_a_file_that_holds_no_key_leaves_the_earlier_one(tmp_path):
    path, told = tmp_path / "mask.key", []
    replace(path, KEY)
    keys, clock = key_file(path, told)

    replace(path, b"not a key of the tenant")
    clock.now += LOOK_EVERY_S

    assert keys() == KEY
    assert told[-1][0] == "mask-key-not-taken"
    assert "not a key" not in str(told)


def test_a_file_that_holds_no_key_at_the_start_is_refused(tmp_path):
    replace(tmp_path / "mask.key", b"short")

    with pytest.raises(SettingsError, match="holds 5 bytes"):
        key_file(tmp_path / "mask.key")


def test_no_key_is_told_or_shown(tmp_path):
    told = []
    replace(tmp_path / "mask.key", KEY)
    keys, _ = key_file(tmp_path / "mask.key", told)

    shown = f"{keys!r} {keys} {told}"

    assert keys() == KEY
    assert KEY.hex() not in shown
    assert str(KEY) not in shown


def replace(path, content):
    """Put a file there as the host's program does: whole, by a rename."""
    if content is None:
        path.unlink()
        return
    other = path.with_name("new")
    other.write_bytes(content)
    other.replace(path)
