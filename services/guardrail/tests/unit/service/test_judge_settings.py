"""The judge as the unit's environment describes it: its key comes from a file, and from nowhere else."""

from __future__ import annotations

import pytest
from mutx_guardrail.service.settings import read_settings
from mutx_service.settings import SettingsError

JUDGE = {"URL": "http://127.0.0.1:8000/v1", "MODEL": "m", "FAMILY": "qwen3guard"}


def judge_of(**more: object):
    told = {f"MUTX_GUARDRAIL_JUDGE_{name}": str(value) for name, value in {**JUDGE, **more}.items()}
    return read_settings(told).judge


def test_without_a_file_there_is_no_key():
    assert judge_of().api_key is None


def test_the_key_is_the_file_s_line_and_is_not_in_the_settings_text(tmp_path):
    file = tmp_path / "key"
    file.write_text("a-key-of-the-host\n")

    judge = judge_of(API_KEY_FILE=file)

    assert judge.api_key.get_secret_value() == "a-key-of-the-host"
    assert "a-key-of-the-host" not in repr(judge)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"two words", b"one\ntwo", b"k" * 513, b"\xff\xfe", b"a\x00b"], ids=repr
)
def test_a_file_that_holds_no_key_is_refused_without_its_content(tmp_path, content):
    file = tmp_path / "key"
    file.write_bytes(content)

    with pytest.raises(SettingsError, match="JUDGE_API_KEY_FILE holds no key") as refused:
        judge_of(API_KEY_FILE=file)

    assert "words" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused():
    with pytest.raises(SettingsError, match="JUDGE_API_KEY_FILE names no file"):
        judge_of(API_KEY_FILE="/nonexistent/key")
