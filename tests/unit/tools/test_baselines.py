"""What is said of a host against the table of rules that may fail."""

from __future__ import annotations

import baselines
import pytest
from baselines import Borne, Seen

ROWS = (Borne("partition_for_*", "the image's"), Borne("sysctl_x", "its host's", machines="container"))


def test_every_row_says_why_and_names_no_rule_twice() -> None:
    for rows in baselines.load_table().values():
        assert [row.rule for row in rows if len(row.reason) < 10] == []
        assert len({(row.rule, row.machines) for row in rows}) == len(rows)
        assert {row.machines for row in rows} <= {"both", "kernel", "container"}


def test_a_rule_counts_as_failing_where_one_profile_says_so() -> None:
    seen = Seen(80, profiles={"a": {"x": "pass", "y": "fail"}, "b": {"x": "fail", "z": "notapplicable"}})

    assert seen.failing() == {"x", "y"}
    assert seen.rate("a") == "1 of 2"


@pytest.mark.parametrize(
    ("failing", "kind", "said"),
    [
        ({"partition_for_var", "sysctl_x"}, "container", []),
        ({"partition_for_var", "sysctl_x"}, "kernel", ["rule sysctl_x is neither met nor listed"]),
        ({"sysctl_x"}, "container", ["rule partition_for_* is listed"]),
    ],
    ids=["all listed", "listed for others", "listed in vain"],
)
def test_what_is_not_listed_and_what_is_listed_in_vain_are_named(
    failing: set[str], kind: str, said: list[str]
) -> None:
    seen = Seen(80, profiles={"p": dict.fromkeys(failing, "fail")})

    found = baselines.compare(seen, kind, {"openscap": ROWS, "lynis": ()})

    assert [objection.partition(" in baselines.yml")[0] for objection in found] == said
    assert baselines.compare(Seen(80), kind, {"openscap": ROWS, "lynis": ()}, whole=False) == []
