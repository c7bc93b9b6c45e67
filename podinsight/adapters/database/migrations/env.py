"""Alembic's environment: the connection comes from migrate(), inside its transaction."""

from alembic import context

from podinsight.adapters.database.models import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
context.run_migrations()
