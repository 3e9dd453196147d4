"""Requests to the laboratory: a line of JSON each way, over a socket in the state directory.

A connection to a machine is asked for in the same way, and handed over as a descriptor: so SSH of this machine reaches
machines without a route to them.
"""

from __future__ import annotations

import array
import json
import os
import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from mutx_sandbox.machines.machine import Machine

from mutx_infra.errors import MutxInfraError, OutsideError, RefusedError

if TYPE_CHECKING:
    from mutx_sandbox.machines.following import Follower
    from mutx_sandbox.machines.laboratory import Laboratory

_PRIVATE = 0o600
_LIMIT_S = 60.0


def serve_requests(laboratory: Laboratory, follower: Follower, place: Path) -> None:
    """Take requests for ever."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        place.unlink(missing_ok=True)
        temporary = place.with_name(f".{place.name}")
        temporary.unlink(missing_ok=True)
        with _short(temporary) as short:
            listening.bind(short)
        temporary.chmod(_PRIVATE)
        listening.listen(64)
        temporary.rename(place)
        while True:
            asking, _ = listening.accept()
            Thread(target=_answer, args=(laboratory, follower, asking), daemon=True).start()


def ask(place: Path, do: str, **details: object) -> Any:  # noqa: ANN401 - what each request answers with
    """Send a request and return its answer.

    Raises:
        MutxInfraError: what the laboratory says went wrong.
        OutsideError: it does not answer (code `laboratory-silent`).
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking, _short(place) as short:
            asking.settimeout(_LIMIT_S)
            asking.connect(short)
            asking.sendall(json.dumps({"do": do, **details}).encode() + b"\n")
            answer = json.loads(asking.makefile("rb").readline() or b"null")
    except (OSError, ValueError) as exc:
        raise _silent(str(exc)) from exc
    if answer is None:
        raise _silent("it closed the connection")
    if "error" in answer:
        kind = RefusedError if answer.pop("refused", False) else OutsideError
        raise kind(**answer["error"])
    return answer["answer"]


def _answer(laboratory: Laboratory, follower: Follower, asking: socket.socket) -> None:
    with asking:
        request = json.loads(asking.makefile("rb").readline() or b"{}")
        try:
            found = follower.start() if request.get("do") == "follow" else _act(laboratory, request, asking)
        except MutxInfraError as exc:
            _refuse(asking, exc)
        except OSError as exc:
            traceback.print_exc()
            failed = OutsideError(
                f"{request.get('do', 'a request')} failed: {exc}",
                code="machine-failed",
                remedy="read `laboratory.log` in the state directory, then run the same command again",
            )
            _refuse(asking, failed)
        else:
            _say(asking, {"answer": found})


def _refuse(asking: socket.socket, exc: MutxInfraError) -> None:
    error = {"message": exc.message, "code": exc.code, "remedy": exc.remedy, "detail": exc.detail}
    _say(asking, {"error": error, "refused": isinstance(exc, RefusedError)})


def _act(laboratory: Laboratory, request: dict[str, Any], asking: socket.socket) -> object:
    do = request.get("do", "")
    details = {name: value for name, value in request.items() if name != "do"}
    if do == "add":
        return laboratory.add(
            Machine.model_validate(request["machine"]), tuple(map(Path, request.get("layers", ())))
        )
    if do == "states":
        return [state.model_dump(mode="json") for state in laboratory.states()]
    if do == "visit":
        return str(laboratory.visit(**details))
    if do == "connect":
        with laboratory.connect(str(request["address"]), int(request["port"])) as connected:
            connected.settimeout(None)
            rights = array.array("i", [connected.fileno()])
            asking.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        return True
    actions = {
        "remove": laboratory.remove, "reboot": laboratory.reboot, "cut": laboratory.cut, "leave": laboratory.leave,
    }  # fmt: skip
    actions[do](request["name"])
    return True


def _say(asking: socket.socket, answer: dict[str, object]) -> None:
    asking.sendall(json.dumps(answer).encode() + b"\n")


def _silent(detail: str) -> OutsideError:
    return OutsideError(
        "the laboratory of the machines does not answer",
        code="laboratory-silent",
        remedy="run `mutx-infra sandbox hosts up` again",
        detail=detail,
    )


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Name a socket in few characters: an address holds 108, and state directories may lie deep."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
