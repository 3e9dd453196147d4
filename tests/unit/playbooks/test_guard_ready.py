"""What a guard's host asks its guardrail, and how it reads where that listens."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.support.programs import load_program


@pytest.fixture
def program() -> ModuleType:
    return load_program("guardrail/files/mutx-guard-ready")


def test_a_unit_s_environment_is_read_without_its_prefix_and_quotes(program: ModuleType) -> None:
    text = '# a note\nMUTX_GUARDRAIL_HOST="0.0.0.0"\nMUTX_GUARDRAIL_NAME="a \\"b\\" \\\\ c"\nOTHER="x"\n'

    assert program.settings(text) == {"HOST": "0.0.0.0", "NAME": 'a "b" \\ c'}  # noqa: S104


def test_one_without_a_certificate_waits(program: ModuleType, tmp_path: Path) -> None:
    told = {"TLS_CERTIFICATE": str(tmp_path / "server.pem")}

    assert program.look(told) == (3, {"status": "waits for its certificate"})


@pytest.mark.parametrize(
    ("answer", "document", "status"),
    [
        (200, {"status": "ready", "degraded": ["judge"]}, 0),
        (200, {"status": "something else"}, 1),
        (503, {"code": "guard-degraded"}, 1),
        (403, {"code": "caller-refused"}, 4),
        (None, {}, 1),
    ],
    ids=["ready", "not its answer", "degraded", "refused", "silent"],
)
def test_only_the_answer_that_it_is_ready_counts_as_ready(
    program: ModuleType, tmp_path: Path, answer: int | None, document: dict[str, object], status: int
) -> None:
    certificate = tmp_path / "server.pem"
    certificate.touch()

    def ask(_told: object, _certificate: object) -> tuple[int, dict[str, object]]:
        if answer is None:
            raise ConnectionRefusedError("nobody listens")
        return answer, document

    program.ask = ask

    assert program.look({"TLS_CERTIFICATE": str(certificate)})[0] == status
