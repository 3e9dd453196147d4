"""alembic's environment: it runs within the connection that `store.migrate` hands over, and not otherwise."""

from __future__ import annotations

from alembic import context

from mutx_control_plane.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table_schema="mutx",
    include_schemas=True,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
