"""What stands around a guard on a host: a release without models, certificates, and a provider within its reach."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import requires
from pathlib import Path
from threading import Thread
from typing import Any

from mutx_sandbox.machines.kernel import inside

from tests.support.agents import KIT, Authority, build_wheel, put
from tests.support.checkout import ROOT
from tests.support.machines import Hosts, Visitor

GUARDRAIL = ROOT / "services/guardrail"
SUPPORT = GUARDRAIL / "tests/support"
_NEEDED = ("h11", "httpx2", "pydantic", "pyyaml", "starlette", "uvicorn")


@cache
def build_trial(into: Path, version: str = "") -> tuple[Path, list[Path], Path]:
    """Build the stand-in's wheel; returns it, the wheels that go with it, and a lock of what those need."""
    source = into / "guard_trial"
    if not source.exists():
        shutil.copytree(SUPPORT / "trial", source)
        shutil.copy(SUPPORT / "fake_guard.py", source / "src/mutx_guard_trial/fake_guard.py")
    companions = [build_wheel(into, service=KIT), build_wheel(into, service=GUARDRAIL)]
    lock = into / "requirements.lock"
    lock.write_text("".join(_locked(_closure(_NEEDED))), "utf-8")
    return build_wheel(into, version, source), companions, lock


def _closure(names: tuple[str, ...]) -> set[str]:
    """Return distributions with all that they need, extras left out."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        with suppress(ModuleNotFoundError):
            waiting += [
                re.split(r"[^A-Za-z0-9._-]", each, maxsplit=1)[0]
                for each in requires(name) or ()
                if "extra ==" not in each
            ]
    return found


def _locked(names: set[str]) -> list[str]:
    """Return the entries of the guardrail's lock for some names."""
    text = (GUARDRAIL / "requirements.lock").read_text("utf-8")
    entries = re.findall(r"^[a-z0-9].*(?:\n[ \t]+.*)*\n", text, re.MULTILINE)
    return [entry for entry in entries if entry.partition("==")[0] in names]


class Relay:
    """Passes connections at a socket (in somebody's namespace) on to a port of this machine."""

    def __init__(self, listening: socket.socket, port: int) -> None:
        self._listening, self._port = listening, port
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                Thread(target=_carry, args=(near, self._port), daemon=True).start()


def _carry(near: socket.socket, port: int) -> None:
    with near, socket.create_connection(("127.0.0.1", port)) as far:
        back = Thread(target=_pass_on, args=(far, near), daemon=True)
        back.start()
        _pass_on(near, far)
        back.join()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while part := one.recv(65536):
            other.sendall(part)
    for each in (one, other):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def ask(
    visitor: Visitor, place: tuple[str, int], context: ssl.SSLContext, name: str, path: str,
    body: object = None, headers: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, Any]]:  # fmt: skip
    """Send a request from a visitor's namespace; returns the status and the document."""
    plain = inside(visitor.place, lambda: socket.create_connection(place, 30))
    with context.wrap_socket(plain, server_hostname=name) as secure:
        connection = http.client.HTTPConnection(name)
        connection.sock = secure
        told = {"Content-Type": "application/json", **(headers or {})}
        text = None if body is None else json.dumps(body)
        connection.request("POST" if text else "GET", path, text, told)
        answer = connection.getresponse()
        document: dict[str, Any] = json.loads(answer.read())
        return answer.status, document


def give_certificates(
    hosts: Hosts, authority: Authority, unit: str, guard: str, host: str = "trial-1"
) -> None:
    """Put a unit's certificate, and the authority's, where the Vault Agent would; root's and the unit's alone."""
    for name, content in {"server.pem": authority.issue(guard), "ca.pem": authority.file}.items():
        place, options = f"/run/{unit}-secrets/{name}", f"-o {unit} -g {unit} -m 0400"
        put(hosts, host, place, content.read_bytes(), options)
