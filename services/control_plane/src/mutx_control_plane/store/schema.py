"""The tables as queries name them. The migrations make them; a test holds the two together."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB

metadata = sa.MetaData(schema="mutx")


def _label(name: str, *, is_key: bool = False) -> sa.Column[str]:
    """A text that is compared byte by byte, in whatever collation the database has."""
    return sa.Column(name, sa.Text(collation="C"), primary_key=is_key, nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _id(name: str = "id") -> sa.Column[object]:
    return sa.Column(name, sa.Uuid, primary_key=name == "id", nullable=False)


def _number(name: str, *, is_key: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, primary_key=is_key, nullable=False)


tenants = sa.Table(
    "tenants", metadata,
    _label("id", is_key=True), sa.Column("is_active", sa.Boolean, nullable=False), _time("created_at"),
)  # fmt: skip

accounts = sa.Table(
    "accounts", metadata,
    _id(), _label("tenant"), _label("email"), _text("password_hash"),
    sa.Column("issuer", sa.Text(collation="C")), sa.Column("subject", sa.Text(collation="C")),
    sa.Column("roles", ARRAY(sa.Text), nullable=False), sa.Column("is_active", sa.Boolean, nullable=False),
    _time("created_at"),
)  # fmt: skip

setup_links = sa.Table(
    "setup_links", metadata,
    sa.Column("secret_hash", BYTEA, primary_key=True), _label("tenant"), _id("account"), _time("expires_at"),
)  # fmt: skip

session_families = sa.Table(
    "session_families", metadata,
    _id(), _label("tenant"), _id("account"), _time("started_at"), _time("expires_at"), _number("generation"),
    _time("ended_at", nullable=True),
)  # fmt: skip

refresh_tokens = sa.Table(
    "refresh_tokens", metadata,
    sa.Column("token_hash", BYTEA, primary_key=True), _label("tenant"), _id("family"), _number("generation"),
    _time("expires_at"), _time("used_at", nullable=True),
)  # fmt: skip

api_keys = sa.Table(
    "api_keys", metadata,
    _id(), _label("tenant"), _id("account"), _text("name"), _label("prefix"), sa.Column("mac", BYTEA, nullable=False),
    _text("pepper"), _text("sealed"), sa.Column("scopes", ARRAY(sa.Text), nullable=False), _time("created_at"),
    _time("expires_at", nullable=True), _time("last_used_at", nullable=True), _time("revoked_at", nullable=True),
)  # fmt: skip

agents = sa.Table(
    "agents", metadata,
    _id(), _label("tenant"), _label("name"), _id("owner"), _text("purpose"),
    sa.Column("config", JSONB, nullable=False), _text("state"), _number("version"), _time("created_at"),
    _time("updated_at"),
)  # fmt: skip

tenant_tools = sa.Table(
    "tenant_tools", metadata, _label("tenant", is_key=True), _label("tool", is_key=True), _time("granted_at")
)

agent_tools = sa.Table(
    "agent_tools", metadata,
    _label("tenant", is_key=True), sa.Column("agent", sa.Uuid, primary_key=True), _label("tool", is_key=True),
    sa.Column("needs_approval", sa.Boolean, nullable=False), _time("granted_at"),
)  # fmt: skip

runs = sa.Table(
    "runs", metadata,
    _id(), _label("tenant"), _id("agent"), _id("requested_by"), _label("trace_id"), _text("status"), _text("problem"),
    _time("started_at"), _time("ended_at", nullable=True), _number("input_tokens"), _number("output_tokens"),
)  # fmt: skip

approvals = sa.Table(
    "approvals", metadata,
    _id(), _label("tenant"), _id("agent"), _label("tool"), sa.Column("run", sa.Uuid), _id("requested_by"),
    _time("requested_at"), _time("expires_at"), _text("state"), sa.Column("decided_by", sa.Uuid),
    _time("decided_at", nullable=True),
)  # fmt: skip

guard_policies = sa.Table(
    "guard_policies", metadata,
    _label("tenant", is_key=True), _number("version", is_key=True), _text("document"), _text("digest"),
    _id("created_by"), _time("created_at"),
)  # fmt: skip

audit_links = sa.Table(
    "audit_links", metadata,
    _label("tenant", is_key=True), sa.Column("sequence", sa.BigInteger, primary_key=True), _time("at"),
    sa.Column("prev", BYTEA, nullable=False), sa.Column("digest", BYTEA, nullable=False),
    sa.Column("hash", BYTEA, nullable=False),
)  # fmt: skip

audit_events = sa.Table(
    "audit_events", metadata,
    _label("tenant", is_key=True), sa.Column("sequence", sa.BigInteger, primary_key=True),
    _label("retention", is_key=True), sa.Column("at", sa.DateTime(timezone=True), primary_key=True),
    _label("actor"), _label("action"), _label("object"), _label("outcome"), _label("trace_id"), _label("address"),
    sa.Column("detail", JSONB, nullable=False),
)  # fmt: skip
