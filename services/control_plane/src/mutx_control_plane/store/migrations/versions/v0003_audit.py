"""Audit: events by month and retention, and each tenant's chain of hashes beside them.

The events of a partition go together when their time is over; the chain stays, and stays whole: a link holds the
digest of its event, not the event. A unique constraint of a partitioned table has to include the partition's key,
so `UNIQUE (tenant, prev)`, which refuses a fork, needs the chain to be a table of its own in any case.
"""

from __future__ import annotations

from alembic import op

from mutx_control_plane.store.bootstrap import APP_ROLE, OWNER_ROLE
from mutx_control_plane.store.migrations.isolation import isolate

revision = "0003"
down_revision = "0002"

RETENTIONS = ("access", "work")

_LINKS = """
CREATE TABLE mutx.audit_links (
    tenant text COLLATE "C" NOT NULL CONSTRAINT audit_links_tenant_fkey REFERENCES mutx.tenants,
    sequence bigint NOT NULL,
    at timestamptz NOT NULL,
    prev bytea NOT NULL,
    digest bytea NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_links_pkey PRIMARY KEY (tenant, sequence),
    CONSTRAINT audit_links_no_fork UNIQUE (tenant, prev),
    CONSTRAINT audit_links_sequence_counts CHECK (sequence >= 1),
    CONSTRAINT audit_links_hash_follows CHECK (hash = sha256(prev || digest))
)"""

_EVENTS = """
CREATE TABLE mutx.audit_events (
    tenant text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    retention text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL,
    actor text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    object text COLLATE "C" NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    trace_id text COLLATE "C" NOT NULL,
    address text COLLATE "C" NOT NULL,
    detail jsonb NOT NULL,
    CONSTRAINT audit_events_pkey PRIMARY KEY (tenant, sequence, retention, at)
) PARTITION BY LIST (retention)"""

_EVENT_INDEXES = (
    "CREATE INDEX audit_events_of_actor ON mutx.audit_events (tenant, actor, sequence)",
    "CREATE INDEX audit_events_of_action ON mutx.audit_events (tenant, action, sequence)",
    "CREATE INDEX audit_events_of_object ON mutx.audit_events (tenant, object, sequence)",
    "CREATE INDEX audit_events_of_trace ON mutx.audit_events (tenant, trace_id, sequence) WHERE trace_id <> ''",
)

_REFUSE = """
CREATE FUNCTION mutx.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit is only ever added to' USING ERRCODE = 'insufficient_privilege';
END $$"""

# The lock is the transaction's; the second statement sees what those before in the queue committed. The clock is read
# under the lock and never goes back within a chain.
_TAIL = """
CREATE FUNCTION mutx.audit_tail(OUT sequence bigint, OUT hash bytea, OUT at timestamptz)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE mine text := current_setting('mutx.tenant');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(mine, 7089900866));
    SELECT link.sequence, link.hash, link.at INTO sequence, hash, at FROM mutx.audit_links link
        WHERE link.tenant = mine ORDER BY link.sequence DESC LIMIT 1;
    sequence := coalesce(sequence, 0);
    hash := coalesce(hash, decode(repeat('00', 32), 'hex'));
    at := greatest(clock_timestamp(), at);
END $$"""

# As the owner: the service makes the months that it will need, and can do nothing else to a table. A partition is made
# and then attached, since that is no lock which would hold up those who read and write the others.
_MONTHS = """
CREATE FUNCTION mutx.make_audit_months(first date, last date) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE kept text; month timestamptz; made integer := 0; name text;
BEGIN
    IF last > first + 1000 THEN RAISE EXCEPTION 'no more than 1000 days at once'; END IF;
    PERFORM pg_advisory_xact_lock(7089900867);
    FOR month IN SELECT generate_series(date_trunc('month', first::timestamptz), last, interval '1 month') LOOP
        FOREACH kept IN ARRAY ARRAY['access', 'work'] LOOP
            name := format('audit_%s_%s', kept, to_char(month, 'YYYY_MM'));
            CONTINUE WHEN to_regclass('mutx.' || name) IS NOT NULL;
            EXECUTE format('CREATE TABLE mutx.%I (LIKE mutx.audit_%s INCLUDING CONSTRAINTS)', name, kept);
            EXECUTE format(
                'ALTER TABLE mutx.audit_%s ATTACH PARTITION mutx.%I FOR VALUES FROM (%L) TO (%L)',
                kept, name, month, month + interval '1 month'
            );
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END $$"""

# As the owner, and without an argument: the service can have removed what is over by the database's clock, and no more.
_EXPIRE = """
CREATE FUNCTION mutx.drop_expired_audit_months() RETURNS SETOF text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE name text;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        JOIN (VALUES ('mutx.audit_work'::regclass, 90), ('mutx.audit_access'::regclass, 365)) kept (parent, days)
            ON i.inhparent = kept.parent
        WHERE to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' <= now() - make_interval(days => kept.days)
        ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE mutx.%I', name);
        RETURN NEXT name;
    END LOOP;
END $$"""


def upgrade() -> None:
    """Make the tables, and nothing that could change a row of them."""
    op.execute(_LINKS)
    op.execute(_EVENTS)
    for statement in _EVENT_INDEXES:
        op.execute(statement)
    for kept in RETENTIONS:
        op.execute(
            f"CREATE TABLE mutx.audit_{kept} PARTITION OF mutx.audit_events FOR VALUES IN ('{kept}')"
            " PARTITION BY RANGE (at)"
        )
    op.execute(_REFUSE)
    for table in ("audit_links", "audit_events"):
        isolate(table, "SELECT, INSERT")
        op.execute(
            f"CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE ON mutx.{table}"
            " FOR EACH ROW EXECUTE FUNCTION mutx.refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER never_emptied BEFORE TRUNCATE ON mutx.{table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION mutx.refuse_change()"
        )
    for statement in (_TAIL, _MONTHS, _EXPIRE):
        op.execute(statement)
    for function in ("audit_tail()", "make_audit_months(date, date)", "drop_expired_audit_months()"):
        op.execute(f"REVOKE ALL ON FUNCTION mutx.{function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION mutx.{function} TO {APP_ROLE}, {OWNER_ROLE}")


def downgrade() -> None:
    """Remove them, and what is in them."""
    op.execute("DROP FUNCTION mutx.drop_expired_audit_months()")
    op.execute("DROP FUNCTION mutx.make_audit_months(date, date)")
    op.execute("DROP FUNCTION mutx.audit_tail()")
    op.execute("DROP TABLE mutx.audit_events")
    op.execute("DROP TABLE mutx.audit_links")
    op.execute("DROP FUNCTION mutx.refuse_change")
