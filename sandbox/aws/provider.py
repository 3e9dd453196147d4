"""The gRPC face of the stand-in: Pulumi's ResourceProvider, one instance serving every engine that connects."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from google.protobuf import empty_pb2
from mutx_sandbox.aws import lifecycle
from mutx_sandbox.aws.check import check
from mutx_sandbox.aws.diff import deletes_first, is_incomplete
from mutx_sandbox.aws.invokes import FUNCTIONS
from mutx_sandbox.aws.names import Request
from mutx_sandbox.aws.package import PACKAGE
from mutx_sandbox.aws.planning import imported_inputs, planned
from mutx_sandbox.aws.resource import ResourceType
from mutx_sandbox.aws.sessions import AwsSessions, Session
from mutx_sandbox.aws.state import CURRENT_ID
from mutx_sandbox.aws.work import Work
from mutx_sandbox.bridge.check import DEFAULTS
from mutx_sandbox.bridge.diff import changes
from mutx_sandbox.bridge.failures import failures_of, refuse
from mutx_sandbox.bridge.planning import refreshed_inputs
from mutx_sandbox.bridge.provider import Provider, checked, difference, patience
from mutx_sandbox.bridge.values import Properties, decode, encode
from pulumi.runtime.proto import provider_pb2 as pb

_PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the daemon waits at most, whatever a type's table entry says (the sandbox has no slow AWS).

    Attributes:
        delete_s: for what still uses a resource to go away.
    """

    delete_s: float = 60.0


class AwsProvider(Provider[Session, ResourceType]):
    """Answers the engine. What an RPC means for AWS is `lifecycle`'s business."""

    placing = ("region",)

    def __init__(self, sessions: AwsSessions, limits: Limits = Limits()) -> None:
        super().__init__(PACKAGE, sessions)
        self._limits = limits

    def Check(self, request: pb.CheckRequest, context: grpc.ServicerContext) -> pb.CheckResponse:  # noqa: N802
        """Validate inputs and fill in defaults and names."""
        session, kind = self.session(context), self.type_of(request.urn, context)
        news, secrets = decode(request.news)
        olds, _ = decode(request.olds)
        naming = Request(
            logical_name=request.urn.rsplit("::", 1)[-1],
            seed=request.randomSeed,
            proposed=request.autonaming.proposed_name,
            mode=pb.CheckRequest.AutonamingOptions.Mode.Name(request.autonaming.mode),
        )
        inputs, failures = check(kind, news, olds, naming, session.default_tags)
        return checked(inputs, failures, secrets)

    def Diff(self, request: pb.DiffRequest, context: grpc.ServicerContext) -> pb.DiffResponse:  # noqa: N802
        """Compare state and inputs."""
        kind = self.type_of(request.urn, context)
        olds, _ = decode(request.olds)
        old_inputs, _ = decode(request.old_inputs)
        news, _ = decode(request.news)
        found = changes(kind, olds, old_inputs, news, request.ignoreChanges)
        return difference(
            found, deletes_first=deletes_first(kind, old_inputs, found), is_due=is_incomplete(olds)
        )

    def Create(self, request: pb.CreateRequest, context: grpc.ServicerContext) -> pb.CreateResponse:  # noqa: N802
        """Make a resource, or say what is known of it before."""
        session, kind = self.session(context), self.type_of(request.urn, context)
        inputs, secrets = decode(request.properties)
        if request.preview:
            return pb.CreateResponse(properties=encode(planned(kind, inputs), secrets))
        work = Work(kind, session, patience(session, context, request.timeout or _PATIENCE_S), inputs)
        with failures_of(request.urn, context, secrets):
            identifier, state = lifecycle.create(work)
        return pb.CreateResponse(id=identifier, properties=encode(state, secrets))

    def Read(self, request: pb.ReadRequest, context: grpc.ServicerContext) -> pb.ReadResponse:  # noqa: N802
        """Refresh a known resource, or import one by its official import id."""
        session, kind = self.session(context), self.type_of(request.urn, context)
        olds, secrets = decode(request.properties)
        inputs, more = decode(request.inputs)
        known = {**inputs, **olds}
        keys: tuple[str, ...] = ()
        identifier = str(known.get(CURRENT_ID) or request.id)
        if not known and kind.parse_import is not None:
            known = _parsed(kind, request.id, context)
            keys, identifier = tuple(known), ""
        work = Work(kind, session, patience(session, context, _PATIENCE_S), {}, known, identifier)
        with failures_of(request.urn, context, secrets | more):
            state = lifecycle.read(work, keys)
        if state is None:
            return pb.ReadResponse()
        fresh = refreshed_inputs(kind, inputs, state) if inputs else imported_inputs(kind, state)
        return pb.ReadResponse(
            id=work.id, properties=encode(state, secrets | more), inputs=encode(fresh, secrets | more)
        )

    def Update(self, request: pb.UpdateRequest, context: grpc.ServicerContext) -> pb.UpdateResponse:  # noqa: N802
        """Change a resource in place."""
        session, kind = self.session(context), self.type_of(request.urn, context)
        olds, old_secrets = decode(request.olds)
        old_inputs, _ = decode(request.old_inputs)
        news, secrets = decode(request.news)
        secrets |= old_secrets
        if request.preview:
            return pb.UpdateResponse(properties=encode(planned(kind, news, olds), secrets))
        identifier = str(olds.get(CURRENT_ID) or request.id)
        limit = request.timeout or _PATIENCE_S
        work = Work(kind, session, patience(session, context, limit), _plain(news), olds, identifier)
        found = changes(kind, olds, old_inputs, news, request.ignoreChanges)
        with failures_of(request.urn, context, secrets):
            state = lifecycle.update(work, frozenset(change.property for change in found))
        if state["id"] != request.id:
            state |= {CURRENT_ID: state["id"], "id": request.id}
        return pb.UpdateResponse(properties=encode(state, secrets))

    def Delete(self, request: pb.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:  # noqa: N802
        """Remove a resource; one that is gone already is a success."""
        session, kind = self.session(context), self.type_of(request.urn, context)
        olds, secrets = decode(request.properties)
        limit = request.timeout or min(kind.delete_timeout_s, self._limits.delete_s)
        identifier = str(olds.get(CURRENT_ID) or request.id)
        work = Work(kind, session, patience(session, context, limit), {}, olds, identifier)
        with failures_of(request.urn, context, secrets):
            lifecycle.delete(work)
        return empty_pb2.Empty()

    def Invoke(self, request: pb.InvokeRequest, context: grpc.ServicerContext) -> pb.InvokeResponse:  # noqa: N802
        """Answer a function call."""
        session = self.session(context)
        function = FUNCTIONS.get(request.tok)
        if function is None:
            self.unsupported(context, f"the function {request.tok}")
        arguments, secrets = decode(request.args)
        unknown = sorted(set(arguments) - function.arguments)
        if unknown:
            self.unsupported(context, f"the argument {request.tok}.{unknown[0]}")
        with failures_of(request.tok, context, secrets):
            result = function.run(session, patience(session, context, _PATIENCE_S), arguments)
        response = pb.InvokeResponse()
        # `return` is a keyword, so the field cannot be named directly.
        getattr(response, "return").CopyFrom(encode(result, secrets))
        return response


def _parsed(kind: ResourceType, text: str, context: grpc.ServicerContext) -> Properties:
    try:
        return kind.parse_import(text) if kind.parse_import is not None else {}
    except ValueError as exc:
        refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"{text!r} cannot be imported: {exc}")


def _plain(inputs: Properties) -> Properties:
    return {name: value for name, value in inputs.items() if name != DEFAULTS}
