"""What holds for every test: a marker by directory, no network in `unit`, a clean environment."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import pytest_socket
from _pytest.fixtures import reorder_items
from hypothesis import settings as hypothesis_settings

from mutx_infra.adapters.pulumi_engine import Engine, find_engine
from mutx_infra.errors import SettingsError
from mutx_infra.settings import CACHE_VARIABLE, cache_directory

TESTS = Path(__file__).resolve().parent
CHECKOUT = TESTS.parent

MARKER_OF_DIRECTORY = {
    "unit": "unit",
    "contracts": "integration",
    "integration": "integration",
    "system": "integration",
    "hosts": "hosts",
    "compliance": "compliance",
}

LIMIT_OF_HOSTS_S = 1200
"""A fixture that makes a tenant and hardens its hosts counts as part of the first test that asks for it."""

ALIEN_PREFIXES = ("AWS_", "MUTX_", "PULUMI_", "TAILSCALE_", "TS_", "VAULT_", "BAO_", "ANSIBLE_")
ALIEN_NAMES = ("COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH")

# `tests.support` is imported by name, and the tools import each other as scripts do. Appended, so that
# nothing that is installed is shadowed.
sys.path += [str(CHECKOUT), str(CHECKOUT / "tools")]

hypothesis_settings.register_profile("quick", deadline=None, max_examples=60, print_blob=True)
hypothesis_settings.register_profile("full", deadline=None, max_examples=1000, print_blob=True)
hypothesis_settings.load_profile("quick")


def pytest_configure(config: pytest.Config) -> None:
    """Scrub the environment once, before anything of ours is imported by a test."""
    scrub_environment(os.environ)
    # Those with hosts tell a machine's life, and files of one folder share a tenant; the others run in any order.
    if all("hosts" in Path(argument.partition("::")[0]).parts for argument in config.args):
        config.option.randomly_reorganize = False
    # In the background of a script it is ignored, and so it would be in every process that a test interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Mark each test by the directory it lies in; what tells a story keeps its order, the others take any."""
    for item in items:
        marker = marker_of(item.path)
        item.add_marker(marker)
        if marker == "hosts" and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LIMIT_OF_HOSTS_S))
    written = list(items)
    yield
    # As pytest itself does last: what shares a fixture with a parameter stays together.
    items[:] = reorder_items(stories_in_order(items, written))


def stories_in_order(items: Sequence[pytest.Item], written: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return tests in their order, those of each story in the order they are written in, at the story's own places.

    Args:
        items: shuffled, some left out.
        written: all of them, as they are written.
    """
    left = set(items)
    stories: dict[Path, list[pytest.Item]] = {}
    for item in written:
        if item in left and item.get_closest_marker("story") is not None:
            stories.setdefault(item.path, []).append(item)
    told = {path: iter(tests) for path, tests in stories.items()}
    return [next(told[item.path]) if item in stories.get(item.path, ()) else item for item in items]


def marker_of(path: Path) -> str:
    """Return what a test file needs; a file outside the known directories is an error."""
    # A service has its own tests/, with the same directories below it.
    service = path.relative_to(CHECKOUT).parts[:3] if path.is_relative_to(CHECKOUT / "services") else ()
    directory = path.relative_to(CHECKOUT.joinpath(*service) if service else TESTS).parts[0]
    if directory not in MARKER_OF_DIRECTORY:
        raise pytest.UsageError(f"{path} belongs nowhere: move it below one of {sorted(MARKER_OF_DIRECTORY)}")
    return MARKER_OF_DIRECTORY[directory]


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
