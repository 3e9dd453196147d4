"""What holds for every test: a tier by directory, no network in `unit`, a clean environment, a budget."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import pytest_socket
from hypothesis import settings as hypothesis_settings

from mutx_infra.adapters.pulumi_engine import Engine, find_engine
from mutx_infra.errors import SettingsError
from mutx_infra.settings import CACHE_VARIABLE, cache_directory

TESTS = Path(__file__).resolve().parent
CHECKOUT = TESTS.parent

TIER_OF_DIRECTORY = {
    "unit": "unit",
    "contracts": "integration",
    "integration": "integration",
    "system": "integration",
    "compliance": "compliance",
}
# The design wants 240 s for the network alone; hosts, history, platform, accounts, contracts, sandbox, policy pack and
# packaging share its pytest call. The gate is to catch a test that grew, not a machine that is slow.
BUDGET_S = {"unit": 60.0, "integration": 1500.0}
TIME_FACTOR_VARIABLE = "MUTX_TEST_TIME_FACTOR"

ALIEN_PREFIXES = ("AWS_", "MUTX_", "PULUMI_", "TAILSCALE_", "TS_", "VAULT_", "BAO_", "ANSIBLE_")
ALIEN_NAMES = ("COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "PYTHONPATH")

# `tests.support` is imported by name, and the tools import each other as scripts do. Appended, so that
# nothing that is installed is shadowed.
sys.path += [str(CHECKOUT), str(CHECKOUT / "tools")]

hypothesis_settings.register_profile("quick", deadline=None, max_examples=60, print_blob=True)
hypothesis_settings.register_profile("full", deadline=None, max_examples=1000, print_blob=True)
hypothesis_settings.load_profile("quick")


def pytest_configure(config: pytest.Config) -> None:
    """Scrub the environment once, before anything of ours is imported by a test."""
    factor = float(os.environ.get(TIME_FACTOR_VARIABLE, "1"))
    config.pluginmanager.register(BudgetPlugin(factor), "mutx-budget")
    scrub_environment(os.environ)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the directory it lies in."""
    for item in items:
        item.add_marker(tier_of(item.path))


def tier_of(path: Path) -> str:
    """Return a test file's tier; a file outside the known directories is an error."""
    directory = path.relative_to(TESTS).parts[0]
    if directory not in TIER_OF_DIRECTORY:
        raise pytest.UsageError(f"{path} lies in no tier: move it below one of {sorted(TIER_OF_DIRECTORY)}")
    return TIER_OF_DIRECTORY[directory]


def scrub_environment(variables: dict[str, str] | os._Environ[str]) -> None:
    """Take away what would make a test depend on who runs it; the cache stays where it was."""
    cache = str(cache_directory(variables))
    for name in list(variables):
        if name.startswith(ALIEN_PREFIXES) or name in ALIEN_NAMES:
            del variables[name]
    variables[CACHE_VARIABLE] = cache
    # Files that do not exist: boto3 would read the ones in the user's home, or ask the metadata service.
    variables["AWS_CONFIG_FILE"] = variables["AWS_SHARED_CREDENTIALS_FILE"] = "/nonexistent/aws"
    variables["AWS_EC2_METADATA_DISABLED"] = "true"


@pytest.fixture(autouse=True)
def _no_network_in_the_unit_tier(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("unit") is None:
        yield
        return
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout."""
    return CHECKOUT


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The Pulumi engine; its absence fails the test, because `make setup` is to have got one."""
    try:
        return find_engine(cache_directory(os.environ), os.environ.get("PATH", ""))
    except SettingsError as error:
        pytest.fail(f"{error}; {error.remedy}")


class BudgetPlugin:
    """Fails a run that took longer than its tiers may, and names the slowest tests.

    Runs that include tests marked `full` have none. MUTX_TEST_TIME_FACTOR stretches it on a slow machine.
    """

    def __init__(self, factor: float, budgets: Mapping[str, float] = BUDGET_S) -> None:
        self._factor, self._budgets = factor, budgets
        self._start = time.monotonic()
        self._seconds: dict[str, float] = {}
        self._budget_s: float | None = None
        self._complaint: str | None = None

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if any(item.get_closest_marker("full") for item in session.items):
            return
        marked = {marker.name for item in session.items for marker in item.iter_markers()}
        tiers = marked & self._budgets.keys()
        self._budget_s = self._factor * sum(self._budgets[tier] for tier in tiers)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        took_s = time.monotonic() - self._start
        if not self._budget_s or took_s <= self._budget_s:
            return
        slowest = sorted(self._seconds.items(), key=lambda entry: -entry[1])[:5]
        named = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in slowest)
        self._complaint = f"over budget: {took_s:.0f} s of {self._budget_s:.0f} s; slowest: {named}"
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._complaint is not None:
            terminalreporter.write_line(self._complaint, red=True)
            terminalreporter.write_line(f"a slower machine says so with {TIME_FACTOR_VARIABLE}=2", red=True)
