"""Tiers: a meter of a usage may have several charges, and a month's quantities are counted as they grow."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_COLUMNS = "tenant, usage_id, meter, quantity, price_micros, rate_id, price_version, cost_picos, currency"


def upgrade() -> None:
    """Put the part into the key of charges, and count what is there.

    Replicas of the release before go on, and write charges of part 0 without counting them. They refuse books with
    tiers, so what they leave out only moves a boundary of the month in which a book with tiers is taken up.
    """
    if op.get_bind().dialect.name == "postgresql":
        op.add_column("charges", sa.Column("part", sa.Integer(), nullable=False, server_default="0"))
        name = sa.inspect(op.get_bind()).get_pk_constraint("charges")["name"]
        op.drop_constraint(str(name), "charges", type_="primary")
        op.create_primary_key(str(name), "charges", ["tenant", "usage_id", "meter", "part"])
    else:
        _make_anew()
    op.create_table(
        "month_counts",
        sa.Column("tenant", sa.String(255), primary_key=True),
        sa.Column("period", sa.String(7), primary_key=True),
        sa.Column("model", sa.String(255), primary_key=True),
        sa.Column("meter", sa.String(255), primary_key=True),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
    )
    op.execute(
        "INSERT INTO month_counts (tenant, period, model, meter, quantity)"
        " SELECT usages.tenant, substr(usages.day, 1, 7), usages.model, charges.meter, sum(charges.quantity)"
        " FROM charges JOIN usages ON usages.tenant = charges.tenant AND usages.usage_id = charges.usage_id"
        " WHERE charges.quantity > 0 GROUP BY 1, 2, 3, 4"
    )


def _make_anew() -> None:
    """SQLite cannot change a key: the table is made again, and its rows are moved."""
    op.rename_table("charges", "charges_before")
    op.create_table(
        "charges",
        sa.Column("tenant", sa.String(255), primary_key=True),
        sa.Column("usage_id", sa.String(255), primary_key=True),
        sa.Column("meter", sa.String(255), primary_key=True),
        sa.Column("part", sa.Integer(), primary_key=True, server_default="0"),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("price_micros", sa.BigInteger(), nullable=False),
        sa.Column("rate_id", sa.String(255), nullable=False),
        sa.Column("price_version", sa.String(255), nullable=False),
        sa.Column("cost_picos", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.ForeignKeyConstraint(["tenant", "usage_id"], ["usages.tenant", "usages.usage_id"]),
    )
    op.execute(f"INSERT INTO charges ({_COLUMNS}) SELECT {_COLUMNS} FROM charges_before")  # noqa: S608 - constants
    op.drop_table("charges_before")
