"""The gRPC face of the stand-in: what an RPC about a resource means is `lifecycle`'s business."""

from __future__ import annotations

import grpc
from google.protobuf import empty_pb2, struct_pb2
from mutx_sandbox.bridge.check import Failure, invalid_inputs, missing_inputs, read_inputs
from mutx_sandbox.bridge.diff import Change, changes
from mutx_sandbox.bridge.failures import failures_of, refuse
from mutx_sandbox.bridge.package import Package
from mutx_sandbox.bridge.patience import StoppedError
from mutx_sandbox.bridge.planning import planned, refreshed_inputs
from mutx_sandbox.bridge.provider import Provider, checked, difference, patience
from mutx_sandbox.bridge.values import Properties, Secrets, decode, encode, has_unknown, is_empty
from mutx_sandbox.tailscale import lifecycle
from mutx_sandbox.tailscale.lifecycle import Work
from mutx_sandbox.tailscale.resource import ResourceType
from mutx_sandbox.tailscale.sessions import Session, TailscaleSessions
from mutx_sandbox.tailscale.table import TABLE
from pulumi.runtime.proto import provider_pb2 as pb

PACKAGE = Package("tailscale", TABLE, "0.29.2")


class TailscaleProvider(Provider[Session, ResourceType]):
    """Answers the engine."""

    def __init__(self, sessions: TailscaleSessions, patience_s: float) -> None:
        super().__init__(PACKAGE, sessions)
        self._patience_s = patience_s

    def Check(self, request: pb.CheckRequest, context: grpc.ServicerContext) -> pb.CheckResponse:  # noqa: N802
        """Validate inputs; a policy by the API itself, so that one whose tests fail is refused in a preview."""
        session, kind = self.session(context), self.type_of(request.urn, context)
        news, secrets = _open(kind, request.news)
        inputs, failures = read_inputs(kind, news)
        failures += missing_inputs(kind, inputs, news)
        if not failures:
            failures = invalid_inputs(kind, inputs)
        if not failures and not has_unknown(inputs):
            work = Work(kind, session, patience(session, context, self._patience_s), kind.wanted(inputs))
            try:
                failures = lifecycle.verify(work)
            except StoppedError as exc:
                refuse(context, grpc.StatusCode.CANCELLED, str(exc))
        hidden = [Failure(each.property, secrets.hide(each.reason)) for each in failures]
        return checked(inputs, hidden, secrets)

    def Diff(self, request: pb.DiffRequest, context: grpc.ServicerContext) -> pb.DiffResponse:  # noqa: N802
        """Compare state and inputs."""
        return difference(_changes(self.type_of(request.urn, context), request))

    def Create(self, request: pb.CreateRequest, context: grpc.ServicerContext) -> pb.CreateResponse:  # noqa: N802
        """Make a resource, or say what is known of it before."""
        session, kind = self.session(context), self.type_of(request.urn, context)
        inputs, secrets = _open(kind, request.properties)
        wanted = kind.wanted(inputs)
        if request.preview:
            return pb.CreateResponse(properties=encode(planned(kind, wanted), secrets))
        limit = patience(session, context, request.timeout or self._patience_s)
        with failures_of(request.urn, context, secrets):
            identifier, state = lifecycle.create(Work(kind, session, limit, wanted))
        return pb.CreateResponse(id=identifier, properties=encode(state, secrets))

    def Read(self, request: pb.ReadRequest, context: grpc.ServicerContext) -> pb.ReadResponse:  # noqa: N802
        """Refresh a known resource, or import one: a tailnet's only one by any id, which it keeps."""
        session, kind = self.session(context), self.type_of(request.urn, context)
        state, secrets = _open(kind, request.properties)
        inputs, more = _open(kind, request.inputs)
        secrets |= more
        if kind.read is None and not state:
            refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"{kind.name} cannot be imported")
        limit = patience(session, context, self._patience_s)
        with failures_of(request.urn, context, secrets):
            found = lifecycle.read(Work(kind, session, limit, {}, {**inputs, **state}, request.id))
        if found is None:
            return pb.ReadResponse()
        fresh = refreshed_inputs(kind, inputs, found) if inputs else _said(kind, found)
        return pb.ReadResponse(
            id=request.id, properties=encode(found, secrets), inputs=encode(fresh, secrets)
        )

    def Update(self, request: pb.UpdateRequest, context: grpc.ServicerContext) -> pb.UpdateResponse:  # noqa: N802
        """Change a resource in place."""
        session, kind = self.session(context), self.type_of(request.urn, context)
        olds, old_secrets = _open(kind, request.olds)
        news, secrets = _open(kind, request.news)
        wanted, secrets = kind.wanted(news), secrets | old_secrets
        if request.preview:
            return pb.UpdateResponse(properties=encode(planned(kind, wanted, olds), secrets))
        limit = patience(session, context, request.timeout or self._patience_s)
        changed = frozenset(change.property for change in _changes(kind, request))
        with failures_of(request.urn, context, secrets):
            state = lifecycle.update(Work(kind, session, limit, wanted, olds, request.id), changed)
        return pb.UpdateResponse(properties=encode(state, secrets))

    def Delete(self, request: pb.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:  # noqa: N802
        """Remove a resource; one that is gone already is a success."""
        session, kind = self.session(context), self.type_of(request.urn, context)
        olds, secrets = _open(kind, request.properties)
        limit = patience(session, context, request.timeout or self._patience_s)
        with failures_of(request.urn, context, secrets):
            lifecycle.delete(Work(kind, session, limit, {}, olds, request.id))
        return empty_pb2.Empty()

    def Invoke(self, request: pb.InvokeRequest, context: grpc.ServicerContext) -> pb.InvokeResponse:  # noqa: N802
        """Refuse: no function of the package is served."""
        self.unsupported(context, f"the function {request.tok}")


def _open(kind: ResourceType, message: struct_pb2.Struct) -> tuple[Properties, Secrets]:
    """Read values, and count as secret what the type says is, whether the engine marked it or not."""
    values, secrets = decode(message)
    strings = {values[name] for name in kind.secrets if isinstance(values.get(name), str)}
    known = {text for text in strings if text and not has_unknown(text)}
    return values, secrets | Secrets(kind.secrets, frozenset(known))


def _changes(kind: ResourceType, request: pb.DiffRequest | pb.UpdateRequest) -> list[Change]:
    olds, _ = decode(request.olds)
    old_inputs, _ = decode(request.old_inputs)
    news, _ = decode(request.news)
    return changes(kind, olds, kind.wanted(old_inputs), kind.wanted(news), request.ignoreChanges)


def _said(kind: ResourceType, state: Properties) -> Properties:
    """Return the inputs that a program needs to describe an imported resource: what is set and not a default."""
    return {
        name: state[name]
        for name, described in kind.properties.items()
        if not is_empty(state.get(name)) and state[name] != described.default
    }
