"""What Alembic runs for a migration: on the connection, in the transaction, that migrations.py hands it."""  # noqa: INP001 - nobody imports it

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=context.config.attributes["metadata"])
context.run_migrations()
