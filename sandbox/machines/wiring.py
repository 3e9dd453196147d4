"""Puts a laboratory together: the cloud that the sandbox's profile names, and the machines."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from mutx_sandbox.machines.cloud import CloudInstance
from mutx_sandbox.machines.coordination import ConvergeNode, CoordinationPorts
from mutx_sandbox.machines.laboratory import Laboratory
from mutx_sandbox.machines.machine import Machine

from mutx_infra.adapters.aws_session import AwsSession
from mutx_infra.adapters.tailscale_admission import KEY_LIFE_S
from mutx_infra.adapters.tailscale_api import TailscaleApi
from mutx_infra.adapters.tailscale_login import credentials_of
from mutx_infra.bootstrap import load_environment

_CONNECT_LIMIT_S = 5


def make_laboratory(
    folder: Path, profile: Path, layers: tuple[Path, ...], group: Path, tailnet: TailnetParts | None = None
) -> Laboratory:
    """Return a laboratory whose machines are instances of the sandbox's cloud.

    Args:
        folder: where machines are kept.
        profile: the sandbox's.
        layers: of the image, uppermost first.
        group: control group for the machines.
        tailnet: programs and ports of the tailnet that machines join; None where addresses are fixed.
    """
    environment = load_environment(profile)
    aws = environment.aws
    session = AwsSession(aws)
    address = urlsplit(aws.endpoint_url or "")

    def facts_of(machine: Machine) -> CloudInstance:
        return CloudInstance(session, machine.account, machine.region, machine.instance)

    def connect_aws() -> socket.socket:
        connected = socket.create_connection((address.hostname, address.port), _CONNECT_LIMIT_S)
        connected.settimeout(None)
        return connected

    if tailnet is None:
        return Laboratory(folder, layers, group, facts_of, connect_aws)
    api = TailscaleApi(environment.tailnet, credentials_of(environment.tailnet, {}))
    converge = ConvergeNode(
        folder / "converge", tailnet.programs, environment.tailnet.login_server or "",
        lambda tag: api.mint(tag, "converge", KEY_LIFE_S).get_secret_value(),
    )  # fmt: skip
    coordination = {port: partial(_connect, port) for port in tailnet.ports}
    return Laboratory(folder, layers, group, facts_of, connect_aws, converge, coordination)


@dataclass(frozen=True, slots=True)
class TailnetParts:
    """What a laboratory needs for a tailnet with a coordination server."""

    programs: Path
    ports: CoordinationPorts


def _connect(port: int) -> socket.socket:
    connected = socket.create_connection(("127.0.0.1", port), _CONNECT_LIMIT_S)
    connected.settimeout(None)
    return connected
