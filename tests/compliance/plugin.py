"""pytest plugin of the compliance suites: markers, `--evidence`, and a verdict for each control on each host.

It is loaded by every pytest that this package is installed for, so it must cost nothing where no suite runs.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from testinfra.host import Host

    from mutx_infra.evidence import Check

SUITE = Path(__file__).parent
_LOOK = pytest.StashKey["Look"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the file for verdicts."""
    parser.getgroup("mutx").addoption(
        "--evidence",
        metavar="FILE",
        help="append a verdict for each control and host, one JSON object a line",
    )
    parser.getgroup("mutx").addoption(
        "--unseen",
        metavar="ROLE:REASON",
        help="ask no host: every control that is for hosts of this role is unknown, for this reason",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    config.addinivalue_line("markers", "compliance: looks at live hosts (--hosts)")
    config.addinivalue_line(
        "markers", "control(id): the control, of playbooks/controls.yml, that a test looks at"
    )
    config.addinivalue_line(
        "markers", "roles(*names): the hosts' roles that a control is for; without it, all"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the suites out of a larger run without hosts: testinfra would look at this very machine."""
    if collection_path == SUITE and not config.getoption("hosts", default=None):
        return True
    return None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark every test of the suites; one without a control is a mistake of ours."""
    if not item.path.is_relative_to(SUITE):
        return
    if not item.config.getoption("hosts", default=None):
        raise pytest.UsageError("the suites look at hosts: name them, e.g. `--hosts=ansible://all`")
    item.add_marker("compliance")
    if item.get_closest_marker("control") is None:
        raise pytest.UsageError(f'{item.nodeid} names no control: mark it `@pytest.mark.control("…")`')


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """End a test before its fixtures ask the host, where nobody enters it."""
    unseen = str(item.config.getoption("unseen", default=None) or "")
    if not unseen or not item.path.is_relative_to(SUITE):
        return
    role, _, reason = unseen.partition(":")
    require_role(item.get_closest_marker("roles"), role)
    raise UnseenError(reason)


def require_role(marker: pytest.Mark | None, role: str) -> None:
    """End a test of a control that is for other roles' hosts."""
    if marker is not None and role not in marker.args:
        raise NotApplicableError(
            f"the host is {role or 'of no known role'}, the control is for {', '.join(marker.args)}"
        )


class UnseenError(Exception):
    """Nobody looks at the host; the text says why."""


class NotApplicableError(Exception):
    """The host has nothing that the control is about; the text says why."""


@dataclass
class Look:
    """What a test has seen; `looked` is False until it said so."""

    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    seen: object = ""
    wanted: object = ""
    looked: bool = False
    is_met: bool = False

    def __call__(self, seen: object, *, wanted: object, is_met: bool | None = None) -> None:
        """Record an observation and fail the test unless it is as wanted.

        Args:
            seen: what the host shows; no secret.
            wanted: what it should show, in words where it is more than one value.
            is_met: the answer; by default, whether the two are equal.
        """
        self.seen, self.wanted, self.looked = seen, wanted, True
        self.is_met = seen == wanted if is_met is None else is_met
        assert self.is_met, f"seen {seen!r}, wanted {wanted!r}"

    def not_applicable(self, reason: str) -> NoReturn:
        """End the test: the host has nothing that the control is about."""
        raise NotApplicableError(reason)


@pytest.fixture
def observe(request: pytest.FixtureRequest) -> Look:
    """How a test says what it saw and what it should have been."""
    look: Look = request.node.stash[_LOOK]
    return look


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Start a look before the fixtures do."""
    item.stash[_LOOK] = Look()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn what happened into a verdict, once for each test of the suites."""
    report = yield
    marker = item.get_closest_marker("control")
    if marker is None or not item.path.is_relative_to(SUITE) or report.when == "teardown":
        return report
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, NotApplicableError):
        report.outcome, report.longrepr = "skipped", (str(item.path), 0, f"not applicable: {error}")
    if report.when == "call" or error is not None:
        target = str(item.config.getoption("evidence") or "")
        check = _check(marker.args[0], item, error)
        if target:
            with Path(target).open("a", encoding="utf-8") as file:
                file.write(check.model_dump_json() + "\n")
    return report


def _check(control: str, item: pytest.Item, error: BaseException | None) -> Check:
    from mutx_infra.compliance.controls import controls  # noqa: PLC0415 - only where a suite runs

    from mutx_infra.evidence import Verdict, judge  # noqa: PLC0415

    look = item.stash[_LOOK]
    is_told = look.looked and (error is None or isinstance(error, AssertionError))
    check = judge(
        controls()[control],
        _target(item),
        seen=look.seen,
        wanted=look.wanted,
        is_met=look.is_met if is_told else None,
        started_at=look.started_at,
        ended_at=datetime.now(UTC),
        reason="" if is_told else _reason(error),
    )
    if isinstance(error, NotApplicableError):
        return check.model_copy(update={"verdict": Verdict.NOT_APPLICABLE})
    return check


def _target(item: pytest.Item) -> str:
    """Return the name of the host that a test is for: `acme-agent-1` of `ssh://acme-agent-1`."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    host: Host | None = parameters.get("_testinfra_host")
    return host.backend.get_pytest_id().rpartition("://")[2] if host is not None else "localhost"


def _reason(error: BaseException | None) -> str:
    if error is None:
        return "the test looked at nothing"
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return (
        first[:300]
        if isinstance(error, (NotApplicableError, UnseenError))
        else f"{type(error).__name__}: {first[:300]}"
    )
