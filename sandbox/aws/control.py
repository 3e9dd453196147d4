"""A second, small gRPC service on the daemon's port: change faults while it runs, and read the calls it made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from mutx_sandbox.aws.faults import Boundary, Fault

SERVICE = "mutx.sandbox.Control"
_TIMEOUT_S = 10.0


def control_handler(boundary: Boundary) -> grpc.GenericRpcHandler[Any, Any]:
    """Build the service; requests and answers are JSON objects."""

    def faults(request: dict[str, Any]) -> dict[str, Any]:
        if "set" in request:
            boundary.replace([Fault.parse(text) for text in request["set"]])
        return {"faults": boundary.describe()}

    def calls(request: dict[str, Any]) -> dict[str, Any]:
        return {"calls": boundary.take_calls(reset=bool(request.get("reset")))}

    return grpc.method_handlers_generic_handler(SERVICE, {"Faults": _unary(faults), "Calls": _unary(calls)})


class Control:
    """Client of the service."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def set_faults(self, *faults: str) -> list[dict[str, Any]]:
        """Put these faults in force and no others."""
        return list(self._ask("Faults", {"set": list(faults)})["faults"])

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults in force, each with its hits."""
        return list(self._ask("Faults", {})["faults"])

    def calls(self, *, reset: bool = False) -> dict[str, int]:
        """Return HTTP requests made to AWS so far, by operation."""
        return dict(self._ask("Calls", {"reset": reset})["calls"])

    def _ask(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        call = self._channel.unary_unary(f"/{SERVICE}/{method}", _dump, _load)
        answer: dict[str, Any] = call(request, timeout=_TIMEOUT_S)
        return answer


@contextmanager
def open_control(address: str) -> Iterator[Control]:
    """Connect to the daemon at `host:port`."""
    with grpc.insecure_channel(address) as channel:
        yield Control(channel)


def _unary(function: Callable[[dict[str, Any]], dict[str, Any]]) -> grpc.RpcMethodHandler[Any, Any]:
    def handle(request: dict[str, Any], context: grpc.ServicerContext) -> dict[str, Any]:
        try:
            return function(request)
        except ValueError as exc:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(exc))
            raise

    return grpc.unary_unary_rpc_method_handler(handle, request_deserializer=_load, response_serializer=_dump)


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()


def _load(data: bytes) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(data)
    return loaded
