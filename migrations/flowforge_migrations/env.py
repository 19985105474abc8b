"""Runs migrations on a connection handed in by flowforge.store.schema, inside the schema `flowforge`."""

from __future__ import annotations

from alembic import context

SCHEMA = "flowforge"


def run() -> None:
    """Apply the revisions, on a connection or as SQL text (`--sql`)."""
    config = context.config
    if context.is_offline_mode():
        context.configure(
            dialect_name="postgresql", literal_binds=True, as_sql=True, output_buffer=config.output_buffer
        )
    else:
        context.configure(connection=config.attributes["connection"], transaction_per_migration=False)
    with context.begin_transaction():
        context.run_migrations()


run()
