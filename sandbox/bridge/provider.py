"""The gRPC face of a stand-in, as far as it is the same for each: one ResourceProvider serves every engine."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Generic, NoReturn, TypeVar

import grpc
from google.protobuf import empty_pb2
from mutx_sandbox.bridge.check import Failure
from mutx_sandbox.bridge.diff import Change
from mutx_sandbox.bridge.failures import refuse
from mutx_sandbox.bridge.package import Package
from mutx_sandbox.bridge.patience import Patience, StoppedError
from mutx_sandbox.bridge.properties import Described
from mutx_sandbox.bridge.sessions import ConfigurationError, Session, Sessions
from mutx_sandbox.bridge.values import Properties, Secrets, decode, encode, has_unknown
from pulumi.runtime.proto import plugin_pb2
from pulumi.runtime.proto import provider_pb2 as pb
from pulumi.runtime.proto.provider_pb2_grpc import ResourceProviderServicer

logger = logging.getLogger(__name__)

_DIFFERENT = pb.DiffResponse.DIFF_SOME
_EQUAL = pb.DiffResponse.DIFF_NONE

S = TypeVar("S", bound=Session)
T = TypeVar("T", bound=Described)


class Provider(ResourceProviderServicer, Generic[S, T]):
    """Answers the engine in all that is not about resources; subclasses answer the rest.

    Attributes:
        placing: settings whose change means another place, so that every resource is replaced.
    """

    placing: tuple[str, ...] = ()

    def __init__(self, package: Package[T], sessions: Sessions[S]) -> None:
        self._package, self._sessions = package, sessions
        self._schema = ""

    def Handshake(  # noqa: N802
        self, request: pb.ProviderHandshakeRequest, context: grpc.ServicerContext
    ) -> pb.ProviderHandshakeResponse:
        """Agree on the protocol's options; a new engine starts unconfigured."""
        del request
        self._sessions.forget(context.peer())
        return pb.ProviderHandshakeResponse(accept_secrets=True, supports_autonaming_configuration=True)

    def Attach(self, request: plugin_pb2.PluginAttach, context: grpc.ServicerContext) -> empty_pb2.Empty:  # noqa: N802
        """Accept an engine that found the daemon by PULUMI_DEBUG_PROVIDERS."""
        del request, context
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:  # noqa: N802
        """Say the version of the SDK that programs use."""
        del request, context
        return plugin_pb2.PluginInfo(version=self._package.version())

    def GetSchema(self, request: pb.GetSchemaRequest, context: grpc.ServicerContext) -> pb.GetSchemaResponse:  # noqa: N802
        """Return what the table knows."""
        del request, context
        self._schema = self._schema or self._package.schema()
        return pb.GetSchemaResponse(schema=self._schema)

    def CheckConfig(self, request: pb.CheckRequest, context: grpc.ServicerContext) -> pb.CheckResponse:  # noqa: N802
        """Refuse settings that this stand-in would ignore."""
        del context
        news, _ = decode(request.news)
        try:
            failures = self._sessions.check(news)
        except ConfigurationError as exc:
            failures = [(exc.key, exc.reason)]
        return pb.CheckResponse(
            inputs=request.news,
            failures=[pb.CheckFailure(property=key, reason=reason) for key, reason in failures],
        )

    def DiffConfig(self, request: pb.DiffRequest, context: grpc.ServicerContext) -> pb.DiffResponse:  # noqa: N802
        """Replace every resource if the place changes, as official providers do; else nothing."""
        del context
        olds, _ = decode(request.old_inputs)
        news, _ = decode(request.news)
        moved = [
            key
            for key in self.placing
            if olds.get(key) and olds[key] != news.get(key) and not has_unknown(news.get(key))
        ]
        return pb.DiffResponse(changes=_DIFFERENT if moved else _EQUAL, diffs=moved, replaces=moved)

    def Configure(self, request: pb.ConfigureRequest, context: grpc.ServicerContext) -> pb.ConfigureResponse:  # noqa: N802
        """Keep the engine's configuration for its connection."""
        config, _ = decode(request.args)
        try:
            session = self._sessions.configure(context.peer(), config)
        except ConfigurationError as exc:
            refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"{self._package.name}:{exc}")
        except StoppedError as exc:
            refuse(context, grpc.StatusCode.CANCELLED, str(exc))
        logger.info("configured", extra=dict(session.shown))
        return pb.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:  # noqa: N802
        """Stop waits and retries of this connection; calls under way end by themselves."""
        del request
        session = self._sessions.get(context.peer())
        if session is not None:
            session.cancelled.set()
        return empty_pb2.Empty()

    def session(self, context: grpc.ServicerContext) -> S:
        """Return the connection's session, or end the call."""
        session = self._sessions.get(context.peer())
        if session is None:
            message = f"the {self._package.name} provider is not configured on this connection"
            refuse(context, grpc.StatusCode.FAILED_PRECONDITION, message)
        return session

    def type_of(self, urn: str, context: grpc.ServicerContext) -> T:
        """Return the type of a resource, or end the call."""
        token = urn.split("::")[2].rsplit("$", 1)[-1]
        kind = self._package.table.get(token)
        if kind is None:
            self.unsupported(context, f"the resource type {token}")
        return kind

    def unsupported(self, context: grpc.ServicerContext, what: str) -> NoReturn:
        """End the call: nothing of the official package is ignored."""
        refuse(context, grpc.StatusCode.UNIMPLEMENTED, self._package.refusal(what))


def patience(session: Session, context: grpc.ServicerContext, seconds: float) -> Patience:
    """Return how long one call may wait: as long as its engine does."""
    return Patience(seconds, session.cancelled, lambda: not context.is_active())


def checked(inputs: Properties, failures: Sequence[Failure], secrets: Secrets) -> pb.CheckResponse:
    """Answer a Check."""
    return pb.CheckResponse(
        inputs=encode(inputs, secrets),
        failures=[pb.CheckFailure(property=each.property, reason=each.reason) for each in failures],
    )


def difference(
    found: Sequence[Change], *, deletes_first: bool = False, is_due: bool = False
) -> pb.DiffResponse:
    """Answer a Diff; `is_due` asks for an update even without a difference."""
    response = pb.DiffResponse(hasDetailedDiff=True, changes=_DIFFERENT if found or is_due else _EQUAL)
    for change in found:
        name = f"{change.kind}_REPLACE" if change.replaces else change.kind
        response.detailedDiff[change.path].kind = pb.PropertyDiff.Kind.Value(name)
        response.detailedDiff[change.path].inputDiff = change.from_input
    response.diffs.extend(sorted({change.property for change in found}))
    response.replaces.extend(sorted({change.property for change in found if change.replaces}))
    response.deleteBeforeReplace = deletes_first
    return response
