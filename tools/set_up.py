"""Make `.venv` as the lock file says, then get the Pulumi engine; tools/setup.sh runs it.

Standard library only, Python 3.11 or newer. Safe to run again, to interrupt, and to run twice at once; when
nothing changed it is over in well under a second.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from console import Progress, render_error, run_watched, say, signals_as_exceptions  # noqa: E402
from places import with_home, writable  # noqa: E402

from mutx_infra.errors import MutxInfraError, OutsideError, SettingsError  # noqa: E402
from mutx_infra.settings import cache_directory  # noqa: E402

VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".mutx-stamp"
UNFINISHED = VENV / ".mutx-unfinished"
LOCK_FILE = ROOT / "requirements.lock"
UV_LOCK = ROOT / "tools" / "uv.lock"

# Distributions of their own that the tests and the demo run from `.venv`; a host installs each alone.
SERVICES = tuple(sorted(file.parent for file in ROOT.glob("services/*/pyproject.toml")))

# It was tried with the pinned uv; 0.5 has the same options.
OLDEST_UV = (0, 5)
STEP_LIMIT_S = 1800

INDEX_REMEDY = "check that the package index (or PIP_INDEX_URL) can be reached, then run `make setup` again"
CHECKOUT_REMEDY = "compare the package map in pyproject.toml with the directories here (`git status`)"

# pip's settings that uv knows under another name.
UV_NAME_OF = {"index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE"}

# Variables that would point the tools at another environment than ours.
ALIEN = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_USER",
         "PIP_REQUIRE_VIRTUALENV", "UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_TARGET", "UV_PREFIX",
         "UV_PROJECT_ENVIRONMENT")  # fmt: skip


def main() -> int:
    """Run the set-up and hand over to get_engine.py, whose exit status is the result."""
    with signals_as_exceptions():
        try:
            variables = tool_variables(os.environ)
            ensure_environment(variables)
        except MutxInfraError as error:
            say(render_error(error.code, error.message, error.detail, error.remedy))
            return error.exit_status
    return _become_get_engine(variables)


def _become_get_engine(variables: Mapping[str, str]) -> NoReturn:
    """Replace this process, so that signals and the exit status are get_engine's own."""
    python = str(VENV_PYTHON)
    os.execve(python, [python, str(ROOT / "tools" / "get_engine.py")], dict(variables))  # noqa: S606 -- no shell


def ensure_environment(variables: Mapping[str, str]) -> None:
    """Bring `.venv` to what requirements.lock and pyproject.toml say; nothing when it is there already.

    Raises:
        SettingsError: a directory cannot be written, or this Python cannot make an environment.
        OutsideError: a package could not be had.
    """
    if _is_current():
        return
    with _only_one():
        # Another set-up may have done it while this one waited.
        if _is_current():
            return
        uv = _find_uv(variables)
        if UNFINISHED.exists() or not _is_ours() or not _is_usable(VENV_PYTHON, needs_pip=uv is None):
            shutil.rmtree(VENV, ignore_errors=True)
        _make_venv(uv, variables)
        UNFINISHED.touch()
        STAMP.unlink(missing_ok=True)
        uv = uv or _get_uv(variables)
        _install_packages(uv, {**_pip_configuration(variables), **variables})
        _step("compiling what the commands load", compile_command(VENV_PYTHON), variables, CHECKOUT_REMEDY)
        STAMP.write_text(f"{ROOT}\n{fingerprint()}\n", encoding="utf-8")
        UNFINISHED.unlink()


def fingerprint() -> str:
    """Return a digest of what decides the contents of `.venv`."""
    digest = hashlib.sha256()
    own = [directory / "pyproject.toml" for directory in (ROOT, *SERVICES)]
    for file in (LOCK_FILE, *own, Path(__file__)):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def tool_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for the tools: nothing that redirects them; uv hears of pip's mirror and CA."""
    mine = with_home({key: value for key, value in variables.items() if key not in ALIEN})
    for key, uv in UV_NAME_OF.items():
        pip = f"PIP_{key.upper().replace('-', '_')}"
        if mine.get(pip) and uv not in mine:
            mine[uv] = mine[pip]
    return mine


def _pip_configuration(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the mirror and CA of pip's configuration files as variables of uv, which does not read them."""
    try:
        answer = subprocess.run(
            [sys.executable, "-I", "-m", "pip", "config", "list"],
            env=dict(variables), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=60, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return {}
    told = re.findall(r"^(?:global|install)\.(index-url|cert)='(.+)'$", answer.stdout, re.MULTILINE)
    return {UV_NAME_OF[key]: value for key, value in told}


def _read_stamp() -> list[str]:
    """Return the place that `.venv` was made for and its fingerprint; nothing where none finished."""
    try:
        return STAMP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _is_current() -> bool:
    is_stamped = _read_stamp() == [str(ROOT), fingerprint()]
    return is_stamped and VENV_PYTHON.exists() and not UNFINISHED.exists()


def _is_ours() -> bool:
    """Say whether `.venv` was finished for this very place: its scripts name their interpreter by path."""
    return _read_stamp()[:1] == [str(ROOT)]


def _is_usable(python: Path, *, needs_pip: bool) -> bool:
    """Say whether the environment's Python runs (its base may be gone), with pip where that is needed."""
    probe = "import sys; sys.exit(sys.version_info < (3, 11))"
    probe = f"import pip; {probe}" if needs_pip else probe
    try:
        subprocess.run(
            [str(python), "-I", "-c", probe],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _find_uv(variables: Mapping[str, str]) -> Path | None:
    """Return a good uv: the one on PATH, else the one that an earlier set-up put into the cache."""
    on_path = shutil.which("uv", path=variables.get("PATH", ""))
    for candidate in (Path(on_path) if on_path else None, _cached_uv(variables)):
        if candidate is not None and _uv_version(candidate) >= OLDEST_UV:
            return candidate
    return None


def _cached_uv(variables: Mapping[str, str]) -> Path:
    found = re.search(r"^uv==(\S+)", UV_LOCK.read_text("utf-8"), re.MULTILINE)
    pinned = found[1] if found else "unknown"
    return cache_directory(variables) / f"uv-{pinned}" / "bin" / "uv"


def _uv_version(uv: Path) -> tuple[int, ...]:
    try:
        answer = subprocess.run(
            [str(uv), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(int(number) for number in re.findall(r"\d+", answer.stdout)[:3])


def _make_venv(uv: Path | None, variables: Mapping[str, str]) -> None:
    if VENV_PYTHON.exists():
        return
    if uv is not None:
        _step("making .venv", [str(uv), "venv", "--quiet", "--python", sys.executable, str(VENV)], variables)
        return
    if importlib.util.find_spec("ensurepip") is None:
        raise SettingsError(
            f"{sys.executable} cannot make a virtual environment: its `ensurepip` module is missing",
            code="venv-missing",
            remedy=(
                "install it (Debian and Ubuntu: apt install python3-venv), "
                "or install uv (https://docs.astral.sh/uv/)"
            ),
        )
    _step("making .venv", [sys.executable, "-I", "-m", "venv", str(VENV)], variables)


def _get_uv(variables: Mapping[str, str]) -> Path | None:
    """Install the pinned uv into the cache; None where it cannot be had (pip does the work then)."""
    wanted = _cached_uv(variables)
    home = wanted.parent.parent
    parent = writable(home.parent)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".making-uv-") as scratch:
        made = Path(scratch) / "uv"
        command = [
            str(VENV_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input",
            "--no-deps", "--only-binary", ":all:", "--require-hashes",
            "--target", str(made), "--requirement", str(UV_LOCK),
        ]  # fmt: skip
        try:
            _step("getting uv", command, variables)
        except OutsideError as error:
            reason = error.detail.splitlines()[-1][:160]
            say(f"uv cannot be had ({reason}); pip is used instead, which takes longer")
            return None
        if home.exists():
            shutil.rmtree(home)
        made.replace(home)
    return wanted


def _install_packages(uv: Path | None, variables: Mapping[str, str]) -> None:
    """Install what the lock says, hashes enforced, then the checkout itself as an editable install."""
    locked = "installing the locked packages"
    checkout = "installing the checkout"
    if uv is None:
        pip = [
            str(VENV_PYTHON),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
        ]
        _step(locked, [*pip, "--no-compile", "--require-hashes", "--requirement", str(LOCK_FILE)], variables)
        _step(
            checkout,
            [*pip, "--no-deps", "--no-build-isolation", *_editable()],
            variables,
            CHECKOUT_REMEDY,
        )
        return
    tool, here = [str(uv), "pip"], ["--quiet", "--python", str(VENV_PYTHON)]
    _step(locked, [*tool, "sync", *here, "--require-hashes", str(LOCK_FILE)], variables)
    # An editable build is of this checkout at this moment: a cached one would hide a changed package map.
    own = ["--no-deps", "--no-build-isolation", "--reinstall", *_editable()]
    _step(checkout, [*tool, "install", *here, *own], variables, CHECKOUT_REMEDY)


def _editable() -> list[str]:
    """Return the options that install the toolkit and each service from the checkout."""
    return [word for directory in (ROOT, *SERVICES) for word in ("--editable", str(directory))]


def compile_command(python: Path) -> list[str]:
    """Return what has Python keep the commands' imports compiled; `-I` makes it deaf to a shell that forbids that."""
    return [str(python), "-I", str(ROOT / "tools" / "load_commands.py")]


def _step(
    what: str, command: Sequence[str], variables: Mapping[str, str], remedy: str = INDEX_REMEDY
) -> None:
    progress = Progress(what)
    progress.begin()
    outcome = run_watched(
        command, variables=variables, directory=ROOT, progress=progress, limit_s=STEP_LIMIT_S
    )
    if outcome.status == 0:
        progress.end("done")
        return
    progress.close()
    raise OutsideError(
        f"{what} failed",
        code="setup-step-failed",
        detail="\n".join(outcome.tail[-8:]) or f"exit status {outcome.status}",
        remedy=remedy,
    )


@contextmanager
def _only_one() -> Iterator[None]:
    """Hold the checkout's set-up lock; the kernel gives it back when the process dies."""
    directory = ROOT / ".mutx"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        lock = (directory / "setup.lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"the checkout {ROOT} cannot be written",
            code="checkout-unwritable",
            detail=error.strerror or str(error),
            remedy="clone it to a directory of your own",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up works on this checkout; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
