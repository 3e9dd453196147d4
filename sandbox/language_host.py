"""A Python language host for engines without the official one: `pulumi up` and policy packs offline.

Speaks LanguageRuntime. The program runs in this process, in the interpreter that wrote the project; what it prints
goes to the engine, which shows it. Errors read as the official host's (sdk/python/cmd/pulumi-language-python-exec).
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import runpy
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions, version
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import IO, Any

import grpc
import pulumi
from google.protobuf import empty_pb2
from mutx_sandbox.processes import exit_with_parent
from pulumi.runtime.proto import language_pb2 as pb
from pulumi.runtime.proto import plugin_pb2
from pulumi.runtime.proto.language_pb2_grpc import (
    LanguageRuntimeServicer,
    add_LanguageRuntimeServicer_to_server,
)

_MESSAGE_LIMIT = 400 << 20
_MAIN = "__main__.py"


class LanguageHost(LanguageRuntimeServicer):
    """Answers the engine's questions about Python programs, and runs one.

    Args:
        engine: address of the engine that started this process.
    """

    def __init__(self, engine: str) -> None:
        self._engine = engine

    def Handshake(  # noqa: N802
        self, request: pb.LanguageHandshakeRequest, context: grpc.ServicerContext
    ) -> pb.LanguageHandshakeResponse:
        """Agree on the protocol."""
        del request, context
        return pb.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:  # noqa: N802
        """Say the SDK's version."""
        del request, context
        return plugin_pb2.PluginInfo(version=version("pulumi"))

    def About(self, request: pb.AboutRequest, context: grpc.ServicerContext) -> pb.AboutResponse:  # noqa: N802
        """Say which interpreter runs programs."""
        del request, context
        return pb.AboutResponse(executable=sys.executable, version=".".join(map(str, sys.version_info[:3])))

    def GetRequiredPackages(  # noqa: N802
        self, request: pb.GetRequiredPackagesRequest, context: grpc.ServicerContext
    ) -> pb.GetRequiredPackagesResponse:
        """Name none: the engine would try to download the plugin of every SDK that is installed."""
        del request, context
        return pb.GetRequiredPackagesResponse()

    def GetRequiredPlugins(  # noqa: N802
        self, request: pb.GetRequiredPluginsRequest, context: grpc.ServicerContext
    ) -> pb.GetRequiredPluginsResponse:
        """Name none, as above."""
        del request, context
        return pb.GetRequiredPluginsResponse()

    def GetProgramDependencies(  # noqa: N802
        self, request: pb.GetProgramDependenciesRequest, context: grpc.ServicerContext
    ) -> pb.GetProgramDependenciesResponse:
        """List what is installed, for `pulumi about`."""
        del request, context
        found = [
            pb.DependencyInfo(name=entry.metadata["Name"], version=entry.version) for entry in distributions()
        ]
        return pb.GetProgramDependenciesResponse(dependencies=found)

    def InstallDependencies(  # noqa: N802
        self, request: pb.InstallDependenciesRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.InstallDependenciesResponse]:
        """Install nothing: programs use the interpreter that this host runs on."""
        del request, context
        return iter(())

    def RuntimeOptionsPrompts(  # noqa: N802
        self, request: pb.RuntimeOptionsRequest, context: grpc.ServicerContext
    ) -> pb.RuntimeOptionsResponse:
        """Ask nothing."""
        del request, context
        return pb.RuntimeOptionsResponse()

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:  # noqa: N802
        """End, with the program: the engine waits for nothing more from it."""
        del request, context
        Thread(target=_exit_soon, daemon=True).start()
        return empty_pb2.Empty()

    def Run(self, request: pb.RunRequest, context: grpc.ServicerContext) -> pb.RunResponse:  # noqa: N802
        """Run the program and register its resources with the engine."""
        del context
        entry = entry_point(Path(request.info.program_directory or request.pwd), request.info.entry_point)
        if not entry.is_file():
            pulumi_failed = f"unable to find main python program `{_MAIN}` in `{entry.parent}`"
            return pb.RunResponse(error=pulumi_failed)
        return contextvars.copy_context().run(_run, request, self._engine, entry)

    def RunPlugin(  # noqa: N802
        self, request: pb.RunPluginRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.RunPluginResponse]:
        """Run a policy pack or another plugin written in Python as a process, and relay what it prints."""
        directory = request.info.program_directory or request.program
        if request.kind == "analyzer":
            command = [sys.executable, "-u", "-m", "pulumi.policy", *request.args, directory]
        else:
            command = [sys.executable, "-u", directory, *request.args]
        process = subprocess.Popen(
            command,
            cwd=directory if request.kind == "analyzer" else request.pwd or None,
            env={**os.environ, **dict(entry.split("=", 1) for entry in request.env)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        context.add_callback(process.kill)
        yield from _relay(process)
        yield pb.RunPluginResponse(exitcode=process.wait())


def entry_point(directory: Path, name: str) -> Path:
    """Return the program's file: `main:` may name a file, a directory with a `__main__.py`, or nothing."""
    path = directory / (name or ".")
    return path / _MAIN if path.is_dir() else path


def _run(request: pb.RunRequest, engine: str, entry: Path) -> pb.RunResponse:
    parallel = max(request.parallel, 1)
    pulumi.runtime.configure(
        pulumi.runtime.Settings(
            project=request.project,
            monitor=request.monitor_address,
            engine=engine,
            stack=request.stack,
            parallel=parallel,
            dry_run=request.dryRun,
            organization=request.organization or "organization",
            root_directory=request.info.root_directory or None,
        )
    )
    pulumi.runtime.set_all_config(dict(request.config), list(request.configSecretKeys))
    os.chdir(request.pwd or entry.parent)
    sys.argv = [str(entry), *request.args]
    sys.path.insert(0, str(entry.parent))
    # Futures that nobody looks at any more after a failure are not news (see the official host).
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        with ThreadPoolExecutor(max_workers=parallel * 4) as executor:
            loop.set_default_executor(executor)
            return _outcome(loop, lambda: pulumi.runtime.run_in_stack(lambda: _execute(entry)))
    finally:
        loop.close()
        sys.stdout.flush()
        sys.stderr.flush()


def _execute(entry: Path) -> None:
    runpy.run_path(str(entry), run_name="__main__")


def _outcome(
    loop: asyncio.AbstractEventLoop, program: Callable[[], Coroutine[Any, Any, Any]]
) -> pb.RunResponse:
    try:
        loop.run_until_complete(program())
    except pulumi.RunError as exc:
        pulumi.log.error(str(exc))
        return pb.RunResponse(bail=True)
    except grpc.RpcError as exc:
        # The monitor goes away when the engine has already given up: it knows why, and says so.
        if exc.code() == grpc.StatusCode.UNAVAILABLE:
            return pb.RunResponse(bail=True)
        return _failed()
    except (Exception, SystemExit):  # noqa: BLE001 - whatever the program raises is the program's failure
        return _failed()
    return pb.RunResponse()


def _failed() -> pb.RunResponse:
    pulumi.log.error(f"Program failed with an unhandled exception:\n{_program_trace()}")
    return pb.RunResponse(bail=True)


def _program_trace() -> str:
    """Return the trace from the program's first line on, without this host's and runpy's frames."""
    kind, error, trace = sys.exc_info()
    own = {__file__, runpy.__file__, "<frozen runpy>"}
    frames = traceback.extract_tb(trace)
    first = next(
        (i for i, frame in enumerate(frames) if frame.name == "<module>" and frame.filename not in own), 0
    )
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(frames[first:])]
    return "".join([*lines, *traceback.format_exception_only(kind, error)])


def _relay(process: subprocess.Popen[bytes]) -> Iterator[pb.RunPluginResponse]:
    queue: SimpleQueue[pb.RunPluginResponse | None] = SimpleQueue()

    def pump(stream: IO[bytes], name: str) -> None:
        with stream:
            for line in stream:
                queue.put(
                    pb.RunPluginResponse(stdout=line)
                    if name == "stdout"
                    else pb.RunPluginResponse(stderr=line)
                )
        queue.put(None)

    streams = ((process.stdout, "stdout"), (process.stderr, "stderr"))
    for stream, name in streams:
        if stream is not None:
            Thread(target=pump, args=(stream, name), daemon=True).start()
    for _ in streams:
        while (message := queue.get()) is not None:
            yield message


def _exit_soon() -> None:
    Event().wait(0.1)
    os._exit(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the engine whose address is the last argument; print the port."""
    given = sys.argv[1:] if arguments is None else arguments
    engine = next((argument for argument in reversed(given) if not argument.startswith("-")), "")
    exit_with_parent()
    # The engine ends its plugins with an interrupt; a program that is still running has nobody to answer to.
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    server = grpc.server(
        ThreadPoolExecutor(max_workers=8),
        options=[
            ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
            ("grpc.max_send_message_length", _MESSAGE_LIMIT),
        ],
    )
    add_LanguageRuntimeServicer_to_server(LanguageHost(engine), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
