"""A small engine: speaks ResourceProvider as Pulumi's does, on a connection of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import empty_pb2, struct_pb2
from mutx_sandbox.aws.control import Control
from mutx_sandbox.bridge.values import decode
from pulumi.runtime.proto import plugin_pb2, status_pb2
from pulumi.runtime.proto import provider_pb2 as pb
from pulumi.runtime.proto.provider_pb2_grpc import ResourceProviderStub

SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}


@dataclass
class Resource:
    """A resource as the engine's state holds it."""

    token: str
    name: str
    id: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]

    @property
    def urn(self) -> str:
        return f"urn:pulumi:test::project::{self.token}::{self.name}"


@dataclass
class Difference:
    """What Diff answered."""

    changed: bool
    kinds: dict[str, str] = field(default_factory=dict)
    replaces: list[str] = field(default_factory=list)
    deletes_first: bool = False
    from_input: dict[str, bool] = field(default_factory=dict)


class CheckFailedError(AssertionError):
    """Check returned failures; `failures` has the reason by property."""

    def __init__(self, failures: dict[str, str]) -> None:
        super().__init__(str(failures))
        self.failures = failures


class Engine:
    """One connection to the provider."""

    def __init__(self, port: int) -> None:
        # Its own subchannel: gRPC would share one between channels to the same address.
        self._channel = grpc.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self.stub = ResourceProviderStub(self._channel)
        self.control = Control(self._channel)
        self._names = 0

    def close(self) -> None:
        self._channel.close()

    def configure(self, **config: Any) -> Engine:
        self.stub.Handshake(pb.ProviderHandshakeRequest(engine_address="127.0.0.1:1"))
        self.stub.Attach(plugin_pb2.PluginAttach(address="127.0.0.1:1"))
        self.stub.Configure(pb.ConfigureRequest(args=pack(config), acceptSecrets=True))
        return self

    def check(
        self, token: str, name: str, inputs: dict[str, Any], olds: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        answer = self.stub.Check(
            pb.CheckRequest(
                urn=urn(token, name),
                news=pack(inputs),
                olds=pack(olds or {}),
                randomSeed=b"seed-" + name.encode(),
            )
        )
        if answer.failures:
            raise CheckFailedError({failure.property: failure.reason for failure in answer.failures})
        return unpack(answer.inputs)

    def create(
        self, token: str, called: str = "", /, *, preview: bool = False, timeout: float = 0, **inputs: Any
    ) -> Resource:
        self._names += 1
        name = called or f"r{self._names}"
        checked = self.check(token, name, inputs)
        answer = self.stub.Create(
            pb.CreateRequest(urn=urn(token, name), properties=pack(checked), preview=preview, timeout=timeout)
        )
        return Resource(token, name, answer.id, checked, unpack(answer.properties))

    def failed_creation(
        self, token: str, name: str, error: grpc.RpcError, inputs: dict[str, Any]
    ) -> Resource:
        """The resource that the engine would record from an ErrorResourceInitFailed."""
        metadata = dict(error.trailing_metadata())
        status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
        detail = pb.ErrorResourceInitFailed()
        assert status.details[0].Unpack(detail)
        return Resource(token, name, detail.id, self.check(token, name, inputs), unpack(detail.properties))

    def diff(
        self, resource: Resource, *, ignore: tuple[str, ...] = (), replacing: bool = False, **inputs: Any
    ) -> tuple[Difference, dict[str, Any]]:
        news = self.check(resource.token, resource.name, inputs, resource.inputs)
        answer = self.stub.Diff(
            pb.DiffRequest(
                urn=resource.urn,
                id=resource.id,
                olds=pack(resource.outputs),
                old_inputs=pack(resource.inputs),
                news=pack(news),
                ignoreChanges=list(ignore),
            )
        )
        detailed = answer.detailedDiff
        return (
            Difference(
                answer.changes == pb.DiffResponse.DIFF_SOME,
                {path: pb.PropertyDiff.Kind.Name(entry.kind) for path, entry in detailed.items()},
                list(answer.replaces),
                answer.deleteBeforeReplace,
                {path: entry.inputDiff for path, entry in detailed.items()},
            ),
            news,
        )

    def update(self, resource: Resource, *, preview: bool = False, **inputs: Any) -> Resource:
        news = self.check(resource.token, resource.name, inputs, resource.inputs)
        answer = self.stub.Update(
            pb.UpdateRequest(
                urn=resource.urn,
                id=resource.id,
                olds=pack(resource.outputs),
                old_inputs=pack(resource.inputs),
                news=pack(news),
                preview=preview,
            )
        )
        return Resource(resource.token, resource.name, resource.id, news, unpack(answer.properties))

    def read(self, resource: Resource) -> Resource | None:
        """Refresh."""
        answer = self.stub.Read(
            pb.ReadRequest(
                urn=resource.urn,
                id=resource.id,
                properties=pack(resource.outputs),
                inputs=pack(resource.inputs),
            )
        )
        return self._read_answer(resource.token, resource.name, answer)

    def adopt(self, resource: Resource) -> Resource | None:
        """Refresh with no more in the state than the inputs, as crash recovery does."""
        inputs = {name: value for name, value in resource.inputs.items() if not name.startswith("__")}
        bare = Resource(resource.token, resource.name, resource.id, inputs, dict(inputs))
        return self.read(bare)

    def import_(self, token: str, identifier: str, name: str = "imported") -> Resource | None:
        answer = self.stub.Read(pb.ReadRequest(urn=urn(token, name), id=identifier))
        return self._read_answer(token, name, answer)

    def delete(self, resource: Resource, timeout: float = 0) -> None:
        self.stub.Delete(
            pb.DeleteRequest(
                urn=resource.urn, id=resource.id, properties=pack(resource.outputs), timeout=timeout
            )
        )

    def invoke(self, token: str, **arguments: Any) -> dict[str, Any]:
        answer = self.stub.Invoke(pb.InvokeRequest(tok=token, args=pack(arguments)))
        return unpack(getattr(answer, "return"))

    def cancel(self) -> None:
        self.stub.Cancel(empty_pb2.Empty())

    def _read_answer(self, token: str, name: str, answer: pb.ReadResponse) -> Resource | None:
        if not answer.id:
            return None
        return Resource(token, name, answer.id, unpack(answer.inputs), unpack(answer.properties))


def urn(token: str, name: str) -> str:
    return f"urn:pulumi:test::project::{token}::{name}"


def secret(value: Any) -> dict[str, Any]:
    """Wrap a value as the engine sends secrets."""
    return {**SECRET, "value": value}


def pack(values: dict[str, Any]) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    message.update({key: value for key, value in values.items() if value is not None})
    return message


def unpack(message: struct_pb2.Struct) -> dict[str, Any]:
    values, _ = decode(message)
    return values
