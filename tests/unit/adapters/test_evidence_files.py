"""Bundles and waivers on disk."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mutx_infra.adapters.evidence_files import EvidenceFiles
from mutx_infra.adapters.waiver_file import load_waivers
from mutx_infra.errors import OutsideError, SettingsError
from mutx_infra.evidence import Bundle, Subject
from tests.support.hosts import NOON

BUNDLE = Bundle(
    subject=Subject(tenant="acme", is_production=False), tools={}, started_at=NOON, ended_at=NOON, checks=()
)


def test_a_bundle_is_written_whole_once_and_for_reading_only(tmp_path: Path) -> None:
    store = EvidenceFiles(tmp_path)

    path = Path(store.keep(BUNDLE))

    assert path.read_bytes() == BUNDLE.content
    assert path.name == f"20261124T120000Z-{BUNDLE.digest[7:23]}.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert store.keep(BUNDLE) == str(path)
    assert list(path.parent.iterdir()) == [path]


def test_evidence_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "acme").write_text("in the way", encoding="utf-8")

    with pytest.raises(OutsideError, match="could not be written") as refused:
        EvidenceFiles(tmp_path).keep(BUNDLE)

    assert refused.value.code == "evidence-unwritable"


def test_waivers_are_read_and_no_file_is_no_waiver(tmp_path: Path) -> None:
    file = tmp_path / "waivers.yml"
    assert load_waivers(file) == ()
    file.write_text("", encoding="utf-8")
    assert load_waivers(file) == ()

    row = "- {control: ssh-02, reason: a legacy scanner, owner: ada, expires: 2027-01-31}\n"
    file.write_text(row, encoding="utf-8")

    (waiver,) = load_waivers(file)
    assert (waiver.control, waiver.owner, waiver.expires.isoformat()) == ("ssh-02", "ada", "2027-01-31")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {control: ssh-02, owner: ada, expires: 2027-01-31}", "0.reason"),
        ("- {control: ssh-02, reason: a legacy scanner, expires: 2027-01-31}", "0.owner"),
        ("- {control: ssh-02, reason: a legacy scanner, owner: ada}", "0.expires"),
        ("- {control: ssh-02, reason: a legacy scanner, owner: ada, expires: soon}", "0.expires"),
        ("- {control: ssh-02, reason: because, owner: ada, expires: 2027-01-31}", "0.reason"),
        ("- [", "cannot be read"),
        ("control: ssh-02", "not valid"),
    ],
    ids=["no reason", "no owner", "no expiry", "no date", "short reason", "no YAML", "no list"],
)
def test_a_waiver_that_lacks_something_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "waivers.yml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(SettingsError, match="waivers") as refused:
        load_waivers(file)

    assert said in refused.value.message
