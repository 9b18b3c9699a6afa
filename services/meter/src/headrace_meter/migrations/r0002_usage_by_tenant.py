"""A usage id is its tenant's own: the tenant is part of every key of the ledger."""

import sqlalchemy as sa
from alembic import op
from headrace_messaging.revisions import inbox_by_tenant

revision = "0002"
down_revision = "0001"

_INDEXES = {"usages_by_request": ["tenant", "request_id"], "usages_by_time": ["tenant", "started_us"]}


def upgrade() -> None:
    """Make the tables under their new keys, move every row, drop the old ones."""
    # A usage's event id is its usage id; an outcome's tenant is not known, but taking an outcome twice changes nothing.
    inbox_by_tenant("(SELECT min(usages.tenant) FROM usages WHERE usages.usage_id = inbox_events_before.event_id)")
    for index in _INDEXES:
        op.drop_index(index, "usages")
    for table in ("unrated", "charges", "usages"):
        op.rename_table(table, f"{table}_before")
    _create_tables()
    usages = "usage_id, attempt_id, tenant, request_id, feature, operation, model, provider, document, status, attempt"
    usages += ", estimated, reservation_id, started_us, ended_us, day, quantities_json"
    op.execute(f"INSERT INTO usages ({usages}) SELECT {usages} FROM usages_before")  # noqa: S608 - constants
    charges = "meter, quantity, price_micros, rate_id, price_version, cost_picos, currency"
    for table, columns in (("charges", charges), ("unrated", "reason")):
        op.execute(
            f"INSERT INTO {table} (tenant, usage_id, {columns}) "  # noqa: S608 - constants
            f"SELECT usages.tenant, usages.usage_id, {columns} "
            f"FROM {table}_before JOIN usages ON usages.usage_id = {table}_before.usage_id"
        )
    for table in ("unrated", "charges", "usages"):
        op.drop_table(f"{table}_before")


def _create_tables() -> None:
    op.create_table(
        "usages",
        sa.Column("tenant", sa.String(255), primary_key=True),
        sa.Column("usage_id", sa.String(255), primary_key=True),
        sa.Column("attempt_id", sa.String(255), nullable=False),
        sa.Column("request_id", sa.String(255), nullable=False),
        sa.Column("feature", sa.String(255), nullable=False),
        sa.Column("operation", sa.String(255), nullable=False),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("provider", sa.String(255), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("reservation_id", sa.String(255), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("quantities_json", sa.Text(), nullable=False),
    )
    for index, columns in _INDEXES.items():
        op.create_index(index, "usages", columns)
    op.create_table(
        "charges",
        sa.Column("tenant", sa.String(255), primary_key=True),
        sa.Column("usage_id", sa.String(255), primary_key=True),
        sa.Column("meter", sa.String(255), primary_key=True),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("price_micros", sa.BigInteger(), nullable=False),
        sa.Column("rate_id", sa.String(255), nullable=False),
        sa.Column("price_version", sa.String(255), nullable=False),
        sa.Column("cost_picos", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.ForeignKeyConstraint(["tenant", "usage_id"], ["usages.tenant", "usages.usage_id"]),
    )
    op.create_table(
        "unrated",
        sa.Column("tenant", sa.String(255), primary_key=True),
        sa.Column("usage_id", sa.String(255), primary_key=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["tenant", "usage_id"], ["usages.tenant", "usages.usage_id"]),
    )
