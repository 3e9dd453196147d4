"""The guided create, at a pseudo-terminal: what it asks, what it writes, what a no or an end of input does."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import typer
from mutx_infra.cli import guide

from mutx_infra.changes import ChangeSet
from mutx_infra.errors import RefusedError
from mutx_infra.onboarding import Preview
from tests.support.specs import a_plan


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "Pulumi.yaml").write_text("name: mutx-tenant\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def type_in(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("".join(f"{line}\n" for line in lines)))
    monkeypatch.setattr(sys, "stderr", Terminal())


def test_three_answers_make_a_spec_and_a_stack(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, "acme", "eu-west-1", "")

    path = guide.ask_for_spec(None)

    assert path == project / "tenants" / "acme.yaml"
    assert "tier: starter" in path.read_text()
    assert "mutx-tenant:spec: tenants/acme.yaml" in (project / "Pulumi.acme.yaml").read_text()


def test_a_wrong_answer_is_explained_and_asked_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, "Acme!", "eu-west-1", "starter", "acme", "", "eu-west-1", "huge", "standard")

    path = guide.ask_for_spec(None)

    said = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "tier: standard" in path.read_text()
    assert "error[spec-" in said
    assert "there is no tier huge" in said
    assert [found.name for found in (project / "tenants").iterdir()] == ["acme.yaml"]


def test_a_spec_that_exists_is_kept(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "tenants").mkdir()
    spec = project / "tenants" / "acme.yaml"
    spec.write_text("id: acme\nregion: eu-west-1\n")
    type_in(monkeypatch, "acme")

    assert guide.ask_for_spec(None) == spec
    assert spec.read_text() == "id: acme\nregion: eu-west-1\n"


def test_the_end_of_input_ends_the_questions(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, "acme")

    with pytest.raises(typer.Abort):
        guide.ask_for_spec(None)

    assert not (project / "tenants" / "acme.yaml").exists()


@pytest.mark.parametrize("answer", ["y", "YES"])
def test_a_yes_goes_on(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    type_in(monkeypatch, answer)

    guide.confirm(Preview(a_plan(), ChangeSet(), is_new=True))

    assert "block: 10.0.1.0/24" in sys.stderr.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("answer", ["", "n", "yep"])
def test_anything_else_makes_nothing(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    type_in(monkeypatch, answer)

    with pytest.raises(RefusedError) as refused:
        guide.confirm(Preview(a_plan(), ChangeSet(), is_new=True))

    assert refused.value.code == "not-confirmed"


def test_a_pipe_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    assert not guide.is_possible()
