"""One PostgreSQL for the run, and a database for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mutx_control_plane.store.database import Limits
from mutx_control_plane.store.embedded import EmbeddedServer, ephemeral_server
from store_world import World, drop_database, make_database, make_template, new_world


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    with ephemeral_server() as running:
        yield running


@pytest.fixture(scope="session")
def template(server: EmbeddedServer) -> EmbeddedServer:
    make_template(server)
    return server


@pytest.fixture
def world(template: EmbeddedServer) -> Iterator[World]:
    with new_world(template, Limits(connections=8)) as made:
        yield made


@pytest.fixture
def empty(server: EmbeddedServer) -> Iterator[str]:
    """A database without a schema."""
    name = "t_empty"
    make_database(server, name, "template1")
    yield name
    drop_database(server, name)
