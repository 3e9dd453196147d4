"""Puts a laboratory together: the cloud that the sandbox's profile names, and the machines."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

from mutx_sandbox.machines.cloud import CloudInstance
from mutx_sandbox.machines.laboratory import Laboratory
from mutx_sandbox.machines.machine import Machine

from mutx_infra.adapters.aws_session import AwsSession
from mutx_infra.bootstrap import load_environment

_CONNECT_LIMIT_S = 5


def make_laboratory(folder: Path, environment: Path, layers: tuple[Path, ...], group: Path) -> Laboratory:
    """Return a laboratory whose machines are instances of the sandbox's cloud."""
    aws = load_environment(environment).aws
    session = AwsSession(aws)
    address = urlsplit(aws.endpoint_url or "")

    def facts_of(machine: Machine) -> CloudInstance:
        return CloudInstance(session, machine.account, machine.region, machine.instance)

    def connect_aws() -> socket.socket:
        connected = socket.create_connection((address.hostname, address.port), _CONNECT_LIMIT_S)
        connected.settimeout(None)
        return connected

    return Laboratory(folder, layers, group, facts_of, connect_aws)
