"""Agents and their tools, runs, approvals, and each tenant's guardrail policy."""

from __future__ import annotations

from alembic import op

from mutx_control_plane.store.migrations.isolation import isolate

revision = "0002"
down_revision = "0001"

_AGENTS = """
CREATE TABLE mutx.agents (
    id uuid NOT NULL CONSTRAINT agents_pkey PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    owner uuid NOT NULL,
    purpose text NOT NULL,
    config jsonb NOT NULL,
    state text NOT NULL,
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT agents_tenant_id_key UNIQUE (tenant, id),
    CONSTRAINT agents_owner_fkey FOREIGN KEY (tenant, owner) REFERENCES mutx.accounts (tenant, id),
    CONSTRAINT agents_state_is_known CHECK (state IN ('active', 'paused', 'deleted'))
)"""
_AGENTS_NAME = "CREATE UNIQUE INDEX agents_name ON mutx.agents (tenant, name) WHERE state <> 'deleted'"
_AGENTS_IN_ORDER = (
    "CREATE INDEX agents_in_order ON mutx.agents (tenant, created_at, id) WHERE state <> 'deleted'"
)
_AGENTS_OF_OWNER = (
    "CREATE INDEX agents_of_owner ON mutx.agents (tenant, owner, created_at, id) WHERE state <> 'deleted'"
)

# An agent has a tool only while its tenant has it: the second table's rows go with the first's.
_TENANT_TOOLS = """
CREATE TABLE mutx.tenant_tools (
    tenant text COLLATE "C" NOT NULL CONSTRAINT tenant_tools_tenant_fkey REFERENCES mutx.tenants,
    tool text COLLATE "C" NOT NULL,
    granted_at timestamptz NOT NULL,
    CONSTRAINT tenant_tools_pkey PRIMARY KEY (tenant, tool)
)"""
_AGENT_TOOLS = """
CREATE TABLE mutx.agent_tools (
    tenant text COLLATE "C" NOT NULL,
    agent uuid NOT NULL,
    tool text COLLATE "C" NOT NULL,
    needs_approval boolean NOT NULL,
    granted_at timestamptz NOT NULL,
    CONSTRAINT agent_tools_pkey PRIMARY KEY (tenant, agent, tool),
    CONSTRAINT agent_tools_agent_fkey FOREIGN KEY (tenant, agent) REFERENCES mutx.agents (tenant, id),
    CONSTRAINT agent_tools_tool_fkey FOREIGN KEY (tenant, tool)
        REFERENCES mutx.tenant_tools (tenant, tool) ON DELETE CASCADE
)"""
_AGENT_TOOLS_OF_TOOL = "CREATE INDEX agent_tools_of_tool ON mutx.agent_tools (tenant, tool)"

_RUNS = """
CREATE TABLE mutx.runs (
    id uuid NOT NULL CONSTRAINT runs_pkey PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    agent uuid NOT NULL,
    requested_by uuid NOT NULL,
    trace_id text COLLATE "C" NOT NULL,
    status text NOT NULL,
    problem text NOT NULL DEFAULT '',
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    input_tokens integer NOT NULL DEFAULT 0,
    output_tokens integer NOT NULL DEFAULT 0,
    CONSTRAINT runs_tenant_id_key UNIQUE (tenant, id),
    CONSTRAINT runs_agent_fkey FOREIGN KEY (tenant, agent) REFERENCES mutx.agents (tenant, id),
    CONSTRAINT runs_requested_by_fkey FOREIGN KEY (tenant, requested_by) REFERENCES mutx.accounts (tenant, id),
    CONSTRAINT runs_status_is_known CHECK (status IN ('running', 'succeeded', 'failed', 'blocked')),
    CONSTRAINT runs_end_is_told CHECK ((status = 'running') = (ended_at IS NULL))
)"""
_RUNS_IN_ORDER = "CREATE INDEX runs_in_order ON mutx.runs (tenant, started_at, id)"
_RUNS_OF_AGENT = "CREATE INDEX runs_of_agent ON mutx.runs (tenant, agent, started_at, id)"
_RUNS_OF_ASKER = "CREATE INDEX runs_of_asker ON mutx.runs (tenant, requested_by, started_at, id)"
_RUNS_OF_TRACE = "CREATE INDEX runs_of_trace ON mutx.runs (tenant, trace_id)"

_APPROVALS = """
CREATE TABLE mutx.approvals (
    id uuid NOT NULL CONSTRAINT approvals_pkey PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    agent uuid NOT NULL,
    tool text COLLATE "C" NOT NULL,
    run uuid,
    requested_by uuid NOT NULL,
    requested_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'pending',
    decided_by uuid,
    decided_at timestamptz,
    CONSTRAINT approvals_agent_fkey FOREIGN KEY (tenant, agent) REFERENCES mutx.agents (tenant, id),
    CONSTRAINT approvals_requested_by_fkey FOREIGN KEY (tenant, requested_by) REFERENCES mutx.accounts (tenant, id),
    CONSTRAINT approvals_decided_by_fkey FOREIGN KEY (tenant, decided_by) REFERENCES mutx.accounts (tenant, id),
    CONSTRAINT approvals_state_is_known CHECK (state IN ('pending', 'approved', 'rejected')),
    CONSTRAINT approvals_decider_is_told CHECK (
        (state = 'pending') = (decided_by IS NULL) AND (state = 'pending') = (decided_at IS NULL)
    ),
    CONSTRAINT approvals_decider_is_another CHECK (decided_by <> requested_by),
    CONSTRAINT approvals_decided_in_time CHECK (decided_at < expires_at)
)"""
_APPROVALS_IN_ORDER = "CREATE INDEX approvals_in_order ON mutx.approvals (tenant, requested_at, id)"
_APPROVALS_PENDING = (
    "CREATE INDEX approvals_pending ON mutx.approvals (tenant, requested_at, id) WHERE state = 'pending'"
)
_DECIDED_ONCE = """
CREATE FUNCTION mutx.refuse_second_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'approval % was decided before', OLD.id USING ERRCODE = 'check_violation';
END $$"""
_DECIDED_ONCE_TRIGGER = """
CREATE TRIGGER decided_once BEFORE UPDATE ON mutx.approvals
FOR EACH ROW WHEN (OLD.state <> 'pending') EXECUTE FUNCTION mutx.refuse_second_decision()"""

_POLICIES = """
CREATE TABLE mutx.guard_policies (
    tenant text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    document text NOT NULL,
    digest text NOT NULL,
    created_by uuid NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT guard_policies_pkey PRIMARY KEY (tenant, version),
    CONSTRAINT guard_policies_created_by_fkey FOREIGN KEY (tenant, created_by) REFERENCES mutx.accounts (tenant, id),
    CONSTRAINT guard_policies_version_counts CHECK (version >= 1)
)"""


def upgrade() -> None:
    """Make the tables."""
    for statement in (
        _AGENTS, _AGENTS_NAME, _AGENTS_IN_ORDER, _AGENTS_OF_OWNER, _TENANT_TOOLS, _AGENT_TOOLS, _AGENT_TOOLS_OF_TOOL,
        _RUNS, _RUNS_IN_ORDER, _RUNS_OF_AGENT, _RUNS_OF_ASKER, _RUNS_OF_TRACE, _APPROVALS, _APPROVALS_IN_ORDER,
        _APPROVALS_PENDING, _DECIDED_ONCE, _DECIDED_ONCE_TRIGGER, _POLICIES,
    ):  # fmt: skip
        op.execute(statement)
    isolate("agents", "SELECT, INSERT, UPDATE")
    isolate("tenant_tools", "SELECT, INSERT, DELETE")
    isolate("agent_tools", "SELECT, INSERT, DELETE")
    isolate("runs", "SELECT, INSERT, DELETE, UPDATE (status, problem, ended_at, input_tokens, output_tokens)")
    isolate("approvals", "SELECT, INSERT, UPDATE (state, decided_by, decided_at)")
    isolate("guard_policies", "SELECT, INSERT")


def downgrade() -> None:
    """Remove them, and what is in them."""
    for table in ("guard_policies", "approvals", "runs", "agent_tools", "tenant_tools", "agents"):
        op.execute(f"DROP TABLE mutx.{table}")
    op.execute("DROP FUNCTION mutx.refuse_second_decision")
