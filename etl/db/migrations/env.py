"""Alembic's entry point; runs the migrations over the connection that `schema.upgrade` got."""

from alembic import context

from etl.db.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
