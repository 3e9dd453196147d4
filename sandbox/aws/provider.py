"""The gRPC face of the stand-in: Pulumi's ResourceProvider, one instance serving every engine that connects."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import grpc
from google.protobuf import any_pb2, empty_pb2
from mutx_sandbox.aws import lifecycle
from mutx_sandbox.aws.caller import AwsError
from mutx_sandbox.aws.check import Failure, check
from mutx_sandbox.aws.diff import changes, deletes_first, is_incomplete
from mutx_sandbox.aws.invokes import FUNCTIONS
from mutx_sandbox.aws.names import DEFAULTS, Request
from mutx_sandbox.aws.patience import Patience, StoppedError
from mutx_sandbox.aws.planning import imported_inputs, planned, refreshed_inputs
from mutx_sandbox.aws.resource import ResourceType
from mutx_sandbox.aws.schema import package_schema, provider_version
from mutx_sandbox.aws.sessions import ConfigurationError, Session, Sessions, check_configuration
from mutx_sandbox.aws.shapes import ShapeError
from mutx_sandbox.aws.state import CURRENT_ID
from mutx_sandbox.aws.table import TABLE
from mutx_sandbox.aws.values import Properties, Secrets, decode, encode, has_unknown
from mutx_sandbox.aws.work import IncompleteError, ResourceError, Work
from pulumi.runtime.proto import plugin_pb2, status_pb2
from pulumi.runtime.proto import provider_pb2 as pb
from pulumi.runtime.proto.provider_pb2_grpc import ResourceProviderServicer

logger = logging.getLogger(__name__)

_PATIENCE_S = 600.0
_DIFFERENT = pb.DiffResponse.DIFF_SOME
_EQUAL = pb.DiffResponse.DIFF_NONE


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the daemon waits at most, whatever a type's table entry says (the sandbox has no slow AWS).

    Attributes:
        delete_s: for what still uses a resource to go away.
    """

    delete_s: float = 60.0


class AwsProvider(ResourceProviderServicer):
    """Answers the engine. What an RPC means for AWS is `lifecycle`'s business."""

    def __init__(self, sessions: Sessions, limits: Limits = Limits()) -> None:
        self._sessions, self._limits = sessions, limits

    # -- about the provider

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
        return plugin_pb2.PluginInfo(version=provider_version())

    def GetSchema(self, request: pb.GetSchemaRequest, context: grpc.ServicerContext) -> pb.GetSchemaResponse:  # noqa: N802
        """Return what the table knows."""
        del request, context
        return pb.GetSchemaResponse(schema=package_schema())

    def CheckConfig(self, request: pb.CheckRequest, context: grpc.ServicerContext) -> pb.CheckResponse:  # noqa: N802
        """Refuse settings that this stand-in would ignore."""
        del context
        news, _ = decode(request.news)
        try:
            failures = check_configuration(news)
        except ConfigurationError as exc:
            failures = [(exc.key, exc.reason)]
        return pb.CheckResponse(
            inputs=request.news,
            failures=[pb.CheckFailure(property=key, reason=reason) for key, reason in failures],
        )

    def DiffConfig(self, request: pb.DiffRequest, context: grpc.ServicerContext) -> pb.DiffResponse:  # noqa: N802
        """Replace every resource if the region changes, as the official provider does; else nothing."""
        del context
        olds, _ = decode(request.old_inputs)
        news, _ = decode(request.news)
        if (
            olds.get("region") == news.get("region")
            or has_unknown(news.get("region"))
            or not olds.get("region")
        ):
            return pb.DiffResponse(changes=_EQUAL)
        return pb.DiffResponse(changes=_DIFFERENT, diffs=["region"], replaces=["region"])

    def Configure(self, request: pb.ConfigureRequest, context: grpc.ServicerContext) -> pb.ConfigureResponse:  # noqa: N802
        """Keep the engine's configuration for its connection, after asking STS who it is."""
        config, _ = decode(request.args)
        try:
            session = self._sessions.configure(context.peer(), config)
        except ConfigurationError as exc:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(exc))
        except StoppedError as exc:
            context.abort(grpc.StatusCode.CANCELLED, str(exc))
        logger.info("configured", extra={"region": session.region, "account": session.account_id})
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

    # -- resources

    def Check(self, request: pb.CheckRequest, context: grpc.ServicerContext) -> pb.CheckResponse:  # noqa: N802
        """Validate inputs and fill in defaults and names."""
        session, kind = self._session(context), _type_of(request.urn, context)
        news, secrets = decode(request.news)
        olds, _ = decode(request.olds)
        naming = Request(
            logical_name=request.urn.rsplit("::", 1)[-1],
            seed=request.randomSeed,
            proposed=request.autonaming.proposed_name,
            mode=pb.CheckRequest.AutonamingOptions.Mode.Name(request.autonaming.mode),
        )
        inputs, failures = check(kind, news, olds, naming, session.default_tags)
        return pb.CheckResponse(
            inputs=encode(inputs, secrets), failures=[_failure(failure) for failure in failures]
        )

    def Diff(self, request: pb.DiffRequest, context: grpc.ServicerContext) -> pb.DiffResponse:  # noqa: N802
        """Compare state and inputs."""
        kind = _type_of(request.urn, context)
        olds, _ = decode(request.olds)
        old_inputs, _ = decode(request.old_inputs)
        news, _ = decode(request.news)
        found = changes(kind, olds, old_inputs, news, request.ignoreChanges)
        response = pb.DiffResponse(hasDetailedDiff=True, changes=_EQUAL)
        for change in found:
            name = f"{change.kind}_REPLACE" if change.replaces else change.kind
            response.detailedDiff[change.path].kind = pb.PropertyDiff.Kind.Value(name)
            response.detailedDiff[change.path].inputDiff = change.from_input
        response.diffs.extend(sorted({change.property for change in found}))
        response.replaces.extend(sorted({change.property for change in found if change.replaces}))
        response.deleteBeforeReplace = deletes_first(kind, old_inputs, found)
        if found or is_incomplete(olds):
            response.changes = _DIFFERENT
        return response

    def Create(self, request: pb.CreateRequest, context: grpc.ServicerContext) -> pb.CreateResponse:  # noqa: N802
        """Make a resource, or say what is known of it before."""
        session, kind = self._session(context), _type_of(request.urn, context)
        inputs, secrets = decode(request.properties)
        if request.preview:
            return pb.CreateResponse(properties=encode(planned(kind, inputs), secrets))
        work = Work(kind, session, _patience(session, context, request.timeout or _PATIENCE_S), inputs)
        with _failures_of(request.urn, context, secrets):
            identifier, state = lifecycle.create(work)
        return pb.CreateResponse(id=identifier, properties=encode(state, secrets))

    def Read(self, request: pb.ReadRequest, context: grpc.ServicerContext) -> pb.ReadResponse:  # noqa: N802
        """Refresh a known resource, or import one by its official import id."""
        session, kind = self._session(context), _type_of(request.urn, context)
        olds, secrets = decode(request.properties)
        inputs, more = decode(request.inputs)
        known = {**inputs, **olds}
        keys: tuple[str, ...] = ()
        identifier = str(known.get(CURRENT_ID) or request.id)
        if not known and kind.parse_import is not None:
            known = _parsed(kind, request.id, context)
            keys, identifier = tuple(known), ""
        work = Work(kind, session, _patience(session, context, _PATIENCE_S), {}, known, identifier)
        with _failures_of(request.urn, context, secrets | more):
            state = lifecycle.read(work, keys)
        if state is None:
            return pb.ReadResponse()
        fresh = refreshed_inputs(kind, inputs, state) if inputs else imported_inputs(kind, state)
        return pb.ReadResponse(
            id=work.id, properties=encode(state, secrets | more), inputs=encode(fresh, secrets | more)
        )

    def Update(self, request: pb.UpdateRequest, context: grpc.ServicerContext) -> pb.UpdateResponse:  # noqa: N802
        """Change a resource in place."""
        session, kind = self._session(context), _type_of(request.urn, context)
        olds, old_secrets = decode(request.olds)
        old_inputs, _ = decode(request.old_inputs)
        news, secrets = decode(request.news)
        secrets |= old_secrets
        if request.preview:
            return pb.UpdateResponse(properties=encode(planned(kind, news, olds), secrets))
        identifier = str(olds.get(CURRENT_ID) or request.id)
        patience = _patience(session, context, request.timeout or _PATIENCE_S)
        work = Work(kind, session, patience, _plain(news), olds, identifier)
        found = changes(kind, olds, old_inputs, news, request.ignoreChanges)
        with _failures_of(request.urn, context, secrets):
            state = lifecycle.update(work, frozenset(change.property for change in found))
        if state["id"] != request.id:
            state |= {CURRENT_ID: state["id"], "id": request.id}
        return pb.UpdateResponse(properties=encode(state, secrets))

    def Delete(self, request: pb.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:  # noqa: N802
        """Remove a resource; one that is gone already is a success."""
        session, kind = self._session(context), _type_of(request.urn, context)
        olds, secrets = decode(request.properties)
        limit = request.timeout or min(kind.delete_timeout_s, self._limits.delete_s)
        identifier = str(olds.get(CURRENT_ID) or request.id)
        work = Work(kind, session, _patience(session, context, limit), {}, olds, identifier)
        with _failures_of(request.urn, context, secrets):
            lifecycle.delete(work)
        return empty_pb2.Empty()

    def Invoke(self, request: pb.InvokeRequest, context: grpc.ServicerContext) -> pb.InvokeResponse:  # noqa: N802
        """Answer a function call."""
        session = self._session(context)
        function = FUNCTIONS.get(request.tok)
        if function is None:
            _unsupported(context, f"the function {request.tok}")
        arguments, secrets = decode(request.args)
        unknown = sorted(set(arguments) - function.arguments)
        if unknown:
            _unsupported(context, f"the argument {request.tok}.{unknown[0]}")
        with _failures_of(request.tok, context, secrets):
            result = function.run(session, _patience(session, context, _PATIENCE_S), arguments)
        response = pb.InvokeResponse()
        # `return` is a keyword, so the field cannot be named directly.
        getattr(response, "return").CopyFrom(encode(result, secrets))
        return response

    def _session(self, context: grpc.ServicerContext) -> Session:
        session = self._sessions.get(context.peer())
        if session is None:
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, "the aws provider is not configured on this connection"
            )
        return session


def _type_of(urn: str, context: grpc.ServicerContext) -> ResourceType:
    token = urn.split("::")[2].rsplit("$", 1)[-1]
    kind = TABLE.get(token)
    if kind is None:
        _unsupported(context, f"the resource type {token}")
    return kind


def _unsupported(context: grpc.ServicerContext, what: str) -> NoReturn:
    message = (
        f"{what} is not supported by the sandbox's stand-in for the aws provider; "
        "docs/reference/sandbox.md lists what is"
    )
    context.abort(grpc.StatusCode.UNIMPLEMENTED, message)
    raise AssertionError("unreachable: abort raises")


def _parsed(kind: ResourceType, text: str, context: grpc.ServicerContext) -> Properties:
    try:
        return kind.parse_import(text) if kind.parse_import is not None else {}
    except ValueError as exc:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{text!r} cannot be imported: {exc}")
        raise AssertionError("unreachable: abort raises") from exc


def _patience(session: Session, context: grpc.ServicerContext, seconds: float) -> Patience:
    return Patience(seconds, session.cancelled, lambda: not context.is_active())


def _plain(inputs: Properties) -> Properties:
    return {name: value for name, value in inputs.items() if name != DEFAULTS}


def _failure(failure: Failure) -> pb.CheckFailure:
    return pb.CheckFailure(property=failure.property, reason=failure.reason)


@contextmanager
def _failures_of(name: str, context: grpc.ServicerContext, secrets: Secrets) -> Iterator[None]:
    """Turn what can go wrong with AWS into gRPC errors, keeping what was already made."""
    title = name.rsplit("::", 1)[-1]
    try:
        yield
    except IncompleteError as exc:
        detail = pb.ErrorResourceInitFailed(
            id=exc.identifier, properties=encode(exc.state, secrets), reasons=[f"{title}: {exc.reason}"]
        )
        packed = any_pb2.Any()
        packed.Pack(detail)
        code, text = grpc.StatusCode.UNKNOWN, f"{title}: {exc.reason}"
        status = status_pb2.Status(code=code.value[0], message=text, details=[packed])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, text)
    except StoppedError as exc:
        context.abort(grpc.StatusCode.CANCELLED, f"{title}: {exc}")
    except (AwsError, ResourceError, ShapeError) as exc:
        context.abort(grpc.StatusCode.UNKNOWN, f"{title}: {exc}")
