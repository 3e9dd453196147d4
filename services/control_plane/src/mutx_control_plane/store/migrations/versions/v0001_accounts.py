"""Tenants, accounts, set-up links, sessions and API keys."""

from __future__ import annotations

from alembic import op

from mutx_control_plane.store.bootstrap import APP_ROLE, OWNER_ROLE
from mutx_control_plane.store.migrations.isolation import TENANT, isolate, let_owner_read

revision = "0001"
down_revision = None

_TENANTS = """
CREATE TABLE mutx.tenants (
    id text COLLATE "C" NOT NULL CONSTRAINT tenants_pkey PRIMARY KEY,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tenants_id_is_label CHECK (id ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$')
)"""

_ACCOUNTS = """
CREATE TABLE mutx.accounts (
    id uuid NOT NULL CONSTRAINT accounts_pkey PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL CONSTRAINT accounts_tenant_fkey REFERENCES mutx.tenants,
    email text COLLATE "C" NOT NULL DEFAULT '',
    password_hash text NOT NULL DEFAULT '',
    issuer text COLLATE "C",
    subject text COLLATE "C",
    roles text[] NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL,
    CONSTRAINT accounts_tenant_id_key UNIQUE (tenant, id),
    CONSTRAINT accounts_provider_key UNIQUE (issuer, subject, tenant),
    CONSTRAINT accounts_provider_is_whole CHECK ((issuer IS NULL) = (subject IS NULL)),
    CONSTRAINT accounts_email_is_folded CHECK (email = lower(email)),
    CONSTRAINT accounts_roles_are_known CHECK (roles <@ ARRAY['ADMIN', 'AUDIT_ADMIN', 'DEVELOPER', 'VIEWER'])
)"""

# Across tenants: a password is asked for before it is known whose tenant it is.
_LOCAL_EMAIL = "CREATE UNIQUE INDEX accounts_local_email ON mutx.accounts (email) WHERE password_hash <> ''"
_ACCOUNTS_IN_ORDER = "CREATE INDEX accounts_in_order ON mutx.accounts (tenant, created_at, id)"

_SETUP_LINKS = """
CREATE TABLE mutx.setup_links (
    secret_hash bytea NOT NULL CONSTRAINT setup_links_pkey PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    account uuid NOT NULL CONSTRAINT setup_links_account_key UNIQUE,
    expires_at timestamptz NOT NULL,
    CONSTRAINT setup_links_account_fkey FOREIGN KEY (tenant, account) REFERENCES mutx.accounts (tenant, id),
    CONSTRAINT setup_links_hash_is_sha256 CHECK (length(secret_hash) = 32)
)"""

_FAMILIES = """
CREATE TABLE mutx.session_families (
    id uuid NOT NULL CONSTRAINT session_families_pkey PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    account uuid NOT NULL,
    started_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    generation integer NOT NULL DEFAULT 0,
    ended_at timestamptz,
    CONSTRAINT session_families_tenant_id_key UNIQUE (tenant, id),
    CONSTRAINT session_families_account_fkey FOREIGN KEY (tenant, account) REFERENCES mutx.accounts (tenant, id)
)"""
_FAMILIES_OF_ACCOUNT = "CREATE INDEX session_families_of_account ON mutx.session_families (account)"

_REFRESH_TOKENS = """
CREATE TABLE mutx.refresh_tokens (
    token_hash bytea NOT NULL CONSTRAINT refresh_tokens_pkey PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    family uuid NOT NULL,
    generation integer NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    CONSTRAINT refresh_tokens_generation_key UNIQUE (family, generation),
    CONSTRAINT refresh_tokens_family_fkey FOREIGN KEY (tenant, family)
        REFERENCES mutx.session_families (tenant, id) ON DELETE CASCADE,
    CONSTRAINT refresh_tokens_hash_is_sha256 CHECK (length(token_hash) = 32)
)"""
_ONE_UNUSED = (
    "CREATE UNIQUE INDEX refresh_tokens_one_unused ON mutx.refresh_tokens (family) WHERE used_at IS NULL"
)

_API_KEYS = """
CREATE TABLE mutx.api_keys (
    id uuid NOT NULL CONSTRAINT api_keys_pkey PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    account uuid NOT NULL,
    name text NOT NULL,
    prefix text COLLATE "C" NOT NULL CONSTRAINT api_keys_prefix_key UNIQUE,
    mac bytea NOT NULL,
    pepper text NOT NULL,
    sealed text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT api_keys_account_fkey FOREIGN KEY (tenant, account) REFERENCES mutx.accounts (tenant, id),
    CONSTRAINT api_keys_mac_is_sha256 CHECK (length(mac) = 32),
    CONSTRAINT api_keys_scopes_are_known CHECK (scopes <@ ARRAY['read', 'write', 'admin'])
)"""
_KEYS_OF_ACCOUNT = "CREATE INDEX api_keys_of_account ON mutx.api_keys (account, created_at)"

# Whoever signs in shows something that is unique before it is known which tenant's it is. This tells the tenant of
# exactly that thing; what else is known of it is read within the tenant.
_TENANT_OF = """
CREATE FUNCTION mutx.tenant_of(kind text, proof text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE found text;
BEGIN
    CASE kind
    WHEN 'account' THEN SELECT tenant INTO found FROM mutx.accounts WHERE id = proof::uuid;
    WHEN 'email' THEN SELECT tenant INTO found FROM mutx.accounts WHERE email = proof AND password_hash <> '';
    WHEN 'setup-link' THEN SELECT tenant INTO found FROM mutx.setup_links WHERE secret_hash = decode(proof, 'hex');
    WHEN 'family' THEN SELECT tenant INTO found FROM mutx.session_families WHERE id = proof::uuid;
    WHEN 'refresh-token' THEN
        SELECT tenant INTO found FROM mutx.refresh_tokens WHERE token_hash = decode(proof, 'hex');
    WHEN 'key-prefix' THEN SELECT tenant INTO found FROM mutx.api_keys WHERE prefix = proof;
    WHEN 'key' THEN SELECT tenant INTO found FROM mutx.api_keys WHERE id = proof::uuid;
    END CASE;
    RETURN found;
END $$"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(f"GRANT SELECT ON mutx.alembic_version TO {APP_ROLE}")
    op.execute(_TENANTS)
    isolate("tenants", "SELECT, INSERT, UPDATE", column="id", command="SELECT")
    # Those who run the control plane see and change which tenants there are, and nothing that is theirs.
    op.execute(f"CREATE POLICY platform_sees_all ON mutx.tenants USING ({TENANT} = 'platform')")
    op.execute("SET LOCAL mutx.tenant = 'platform'")
    op.execute("INSERT INTO mutx.tenants (id) VALUES ('platform')")
    for statement in (_ACCOUNTS, _LOCAL_EMAIL, _ACCOUNTS_IN_ORDER, _SETUP_LINKS, _FAMILIES, _FAMILIES_OF_ACCOUNT,
                      _REFRESH_TOKENS, _ONE_UNUSED, _API_KEYS, _KEYS_OF_ACCOUNT):  # fmt: skip
        op.execute(statement)
    isolate("accounts", "SELECT, INSERT, UPDATE")
    isolate("setup_links", "SELECT, INSERT, UPDATE, DELETE")
    isolate("session_families", "SELECT, INSERT, UPDATE, DELETE")
    isolate("refresh_tokens", "SELECT, INSERT, UPDATE, DELETE")
    isolate("api_keys", "SELECT, INSERT, UPDATE")
    for table in ("accounts", "setup_links", "session_families", "refresh_tokens", "api_keys"):
        let_owner_read(table)
    op.execute(_TENANT_OF)
    op.execute("REVOKE ALL ON FUNCTION mutx.tenant_of FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION mutx.tenant_of TO {APP_ROLE}, {OWNER_ROLE}")


def downgrade() -> None:
    """Remove them, and what is in them."""
    op.execute("DROP FUNCTION mutx.tenant_of")
    for table in ("api_keys", "refresh_tokens", "session_families", "setup_links", "accounts", "tenants"):
        op.execute(f"DROP TABLE mutx.{table}")
