"""What was ever reserved is counted by itself, and a request's outcome knows when it came: the books can be off now."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns, counting what is there; and the indexes by which the books of some months are read.

    Replicas of the release before go on, and write rows without these columns: hence the defaults. What they reserve
    meanwhile is not counted as reserved ever, and the books say so (docs/runbooks/conservation.md).
    """
    op.add_column("accounts", sa.Column("reserved_ever_picos", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("outcomes", sa.Column("closed_us", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE accounts SET reserved_ever_picos = coalesce((SELECT sum(amount_picos) FROM reservations"
        " WHERE reservations.tenant = accounts.tenant AND reservations.period = accounts.period), 0)"
    )
    op.create_index("reservations_by_period", "reservations", ["period", "tenant", "state"])
    op.create_index("usages_by_day", "usages", ["day"])
