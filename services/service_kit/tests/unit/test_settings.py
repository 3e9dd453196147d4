"""The reader of environments: a kind of value each, and errors that name the variable."""

from __future__ import annotations

import pytest
from mutx_service.settings import Environment, SettingsError


@pytest.mark.parametrize(
    ("read", "value", "said"),
    [
        (lambda get: get.number("X", 5), "1025", "is '1025'"),
        (lambda get: get.number("X", 5), "٣", "is '٣'"),
        (lambda get: get.name("X"), "-a", "is no host label"),
        (lambda get: get.choice("X", ("a", "b")), "c", "is 'c'"),
        (lambda get: get.url("X", None), "ftp://a", "is no http or https URL"),
        (lambda get: get.url("X", None), "http://10.0.0.1", "is plain http off loopback"),
        (lambda get: get.host("X", needs_loopback=True), "10.0.0.1", "is not loopback"),
        (lambda get: get.file("X"), "/nowhere", "names no file"),
    ],
    ids=["too large", "another digit", "name", "choice", "scheme", "plain", "open", "file"],
)
def test_a_wrong_value_is_refused_by_the_variable_s_full_name(read, value, said):
    get = Environment({"MUTX_TRIAL_X": value}, "MUTX_TRIAL_")

    with pytest.raises(SettingsError, match=said) as refused:
        read(get)

    assert refused.value.variable == "MUTX_TRIAL_X"


def test_only_variables_of_the_prefix_must_be_known():
    Environment({"MUTX_AGENT_OTHER": "x", "MUTX_TRIAL_X": "y"}, "MUTX_TRIAL_").refuse_unknown(
        {"MUTX_TRIAL_X"}
    )

    with pytest.raises(SettingsError, match="MUTX_TRIAL_Y"):
        Environment({"MUTX_TRIAL_Y": "y"}, "MUTX_TRIAL_").refuse_unknown({"MUTX_TRIAL_X"})


def test_words_are_parted_by_spaces_and_commas():
    assert Environment({"P_X": "a, b  c"}, "P_").words("X") == {"a", "b", "c"}
