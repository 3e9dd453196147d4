"""Turns what can go wrong in an operation into the gRPC errors that the engine expects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import grpc
from google.protobuf import any_pb2
from mutx_sandbox.bridge.patience import StoppedError
from mutx_sandbox.bridge.values import Properties, Secrets, encode
from pulumi.runtime.proto import provider_pb2 as pb
from pulumi.runtime.proto import status_pb2


class OperationError(Exception):
    """The API refused, or could not be reached, or answered with what the operation cannot use; says which."""


class IncompleteError(Exception):
    """The resource exists, but a later step of its creation failed; `state` is what is known of it."""

    def __init__(self, identifier: str, state: Properties, reason: str) -> None:
        super().__init__(reason)
        self.identifier, self.state, self.reason = identifier, state, reason


@contextmanager
def failures_of(name: str, context: grpc.ServicerContext, secrets: Secrets) -> Iterator[None]:
    """End the call with a gRPC error where the block fails, keeping what was already made."""
    title = name.rsplit("::", 1)[-1]
    try:
        yield
    except IncompleteError as exc:
        text = f"{title}: {secrets.hide(exc.reason)}"
        detail = pb.ErrorResourceInitFailed(
            id=exc.identifier, properties=encode(exc.state, secrets), reasons=[text]
        )
        packed = any_pb2.Any()
        packed.Pack(detail)
        code = grpc.StatusCode.UNKNOWN
        status = status_pb2.Status(code=code.value[0], message=text, details=[packed])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, text)
    except StoppedError as exc:
        context.abort(grpc.StatusCode.CANCELLED, f"{title}: {exc}")
    except OperationError as exc:
        context.abort(grpc.StatusCode.UNKNOWN, f"{title}: {secrets.hide(str(exc))}")


def refuse(context: grpc.ServicerContext, code: grpc.StatusCode, message: str) -> NoReturn:
    """End the call, for type checkers as well."""
    context.abort(code, message)
    raise AssertionError("unreachable: abort raises")
