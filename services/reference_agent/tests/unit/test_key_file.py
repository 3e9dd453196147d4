"""The key's file: what counts as a key, who may read it, and that the key shows itself to nobody."""

from __future__ import annotations

import copy
import os
import pickle

import pytest
from mutx_reference_agent.key_file import KeyFile, ProviderKey
from mutx_service.problem import Problem


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "provider-key"
    path.write_bytes(b"sk-made-up\n")
    path.chmod(0o400)
    return path


def test_each_read_sees_the_file_as_it_is(file):
    key_file = KeyFile(file)
    first = key_file.read()
    file.with_name("new").write_bytes(b"sk-other")
    file.with_name("new").chmod(0o400)
    file.with_name("new").replace(file)

    assert (first.reveal(), key_file.read().reveal()) == ("sk-made-up", "sk-other")
    assert first != key_file.read()


@pytest.mark.parametrize("content", [b"a b", b"one\ntwo\n", b"\xc3\xa9", b"\n", b"x" * 5000, b"a\0"])
def test_what_is_no_key_is_refused(file, content):
    file.chmod(0o600)
    file.write_bytes(content)

    with pytest.raises(Problem) as refused:
        KeyFile(file, sleep=lambda _: None).read()

    assert refused.value.code == "key-unusable"


def test_a_file_that_was_just_truncated_is_looked_at_again(file):
    file.chmod(0o600)
    file.write_bytes(b"")

    found = KeyFile(file, sleep=lambda _: file.write_bytes(b"sk-new") and None).read()

    assert found.reveal() == "sk-new"


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o644, 0o420, 0o777])
def test_a_file_that_others_may_read_is_refused(file, mode):
    file.chmod(mode)

    with pytest.raises(Problem) as refused:
        KeyFile(file).read()

    assert refused.value.code == "key-unusable"


def test_a_missing_file_and_a_directory_have_codes(tmp_path):
    codes = []
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(Problem) as refused:
            KeyFile(path).read()
        codes.append(refused.value.code)

    assert codes == ["key-missing", "key-unusable"]


def test_a_key_shows_itself_to_nobody():
    key = ProviderKey("sk-canary")

    assert "canary" not in f"{key} {key!r} {[key]} {vars(type(key))}"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(key)


def test_the_tests_own_files_are_of_this_user(file):
    """The group's bit is refused for the owner only: systemd's credentials belong to root and carry an ACL."""
    assert file.stat().st_uid == os.geteuid()
