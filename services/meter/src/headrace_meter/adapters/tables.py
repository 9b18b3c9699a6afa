"""The ledger's tables. Amounts are picos, times microseconds since 1970 in UTC: integers, exact on every database.

The chassis adds the outbox to the same database. Nothing is ever updated in `usages` and `charges`: they are the
ledger. `accounts` and `reservations` say what is held now, and could be computed anew from facts.
"""

from __future__ import annotations

from headrace_messaging.inbox import inbox_tables
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    ForeignKeyConstraint,
    FromClause,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    and_,
    literal_column,
    or_,
)

METADATA = MetaData()

USAGES = Table(
    "usages",
    METADATA,
    Column("tenant", String(255), primary_key=True),
    Column("usage_id", String(255), primary_key=True),
    Column("attempt_id", String(255), nullable=False),
    Column("request_id", String(255), nullable=False),
    Column("feature", String(255), nullable=False),
    Column("operation", String(255), nullable=False),
    Column("model", String(255), nullable=False),
    Column("provider", String(255), nullable=False),
    Column("document", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("reservation_id", String(255), nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger, nullable=False),
    Column("day", String(10), nullable=False),
    Column("quantities_json", Text, nullable=False),
    Column("principal", String(255), nullable=False, server_default=""),
)
Index("usages_by_attempt", USAGES.c.tenant, USAGES.c.request_id, USAGES.c.attempt_id)
Index("usages_by_time", USAGES.c.tenant, USAGES.c.started_us)
Index("usages_by_day", USAGES.c.day)


def provisional(usages: FromClause) -> ColumnElement[bool]:
    """Return the condition that a usage was guessed. As text where it can be: a partial index is found by its words."""
    return or_(usages.c.estimated.is_(True), usages.c.status == literal_column("'unknown'"))


Index(
    "usages_provisional",
    USAGES.c.tenant,
    USAGES.c.started_us,
    sqlite_where=provisional(USAGES),
    postgresql_where=provisional(USAGES),
)

CHARGES = Table(
    "charges",
    METADATA,
    Column("tenant", String(255), primary_key=True),
    Column("usage_id", String(255), primary_key=True),
    Column("meter", String(255), primary_key=True),
    # From 0: a meter that crosses from one tier into the next has a charge for each.
    Column("part", Integer, primary_key=True, server_default="0"),
    Column("quantity", BigInteger, nullable=False),
    Column("price_micros", BigInteger, nullable=False),
    Column("rate_id", String(255), nullable=False),
    Column("price_version", String(255), nullable=False),
    Column("cost_picos", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    ForeignKeyConstraint(["tenant", "usage_id"], [USAGES.c.tenant, USAGES.c.usage_id]),
)
IS_EMBEDDING = and_(CHARGES.c.meter == "embedding_tokens", USAGES.c.status != "failed")
"""The condition that a charge counts towards the embedding tokens of a request's outcome: `Booked.and_of` in SQL."""

# Charges of usages that were guessed or corrected, in full, until something more certain is booked: it takes them back.
ESTIMATES = Table(
    "estimates",
    METADATA,
    Column("tenant", String(255), primary_key=True),
    Column("request_id", String(255), primary_key=True),
    Column("attempt_id", String(255), primary_key=True),
    Column("usage_id", String(255), primary_key=True),
    Column("charges_json", Text, nullable=False),
    ForeignKeyConstraint(["tenant", "usage_id"], [USAGES.c.tenant, USAGES.c.usage_id]),
)

# What a tenant's month had of each meter of each model: which tier comes next. The sum of `charges`, kept as it grows.
MONTH_COUNTS = Table(
    "month_counts",
    METADATA,
    Column("tenant", String(255), primary_key=True),
    Column("period", String(7), primary_key=True),
    Column("model", String(255), primary_key=True),
    Column("meter", String(255), primary_key=True),
    Column("quantity", BigInteger, nullable=False),
)

# Money that people gave back: it stands beside what was used, and changes no balance.
CREDITS = Table(
    "credits",
    METADATA,
    Column("tenant", String(255), primary_key=True),
    Column("credit_id", String(255), primary_key=True),
    Column("amount_picos", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("reason", Text, nullable=False),
    Column("granted_by", String(255), nullable=False),
    Column("granted_us", BigInteger, nullable=False),
)

# Price books that were published, in the order in which they came: the last one holds.
PRICE_BOOKS = Table(
    "price_books",
    METADATA,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("version", String(255), nullable=False, unique=True),
    Column("book_text", Text, nullable=False),
    Column("published_by", String(255), nullable=False),
    Column("published_us", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

# Usages that had no price when they came; a row goes when its usage is booked.
UNRATED = Table(
    "unrated",
    METADATA,
    Column("tenant", String(255), primary_key=True),
    Column("usage_id", String(255), primary_key=True),
    Column("reason", Text, nullable=False),
    ForeignKeyConstraint(["tenant", "usage_id"], [USAGES.c.tenant, USAGES.c.usage_id]),
)

# A tenant's months, kept whatever budgets are declared.
ACCOUNTS = Table(
    "accounts",
    METADATA,
    Column("tenant", String(255), primary_key=True),
    Column("period", String(7), primary_key=True),
    Column("reserved_picos", BigInteger, nullable=False),
    Column("spent_picos", BigInteger, nullable=False),
    Column("announced_percent", Integer, nullable=False),
    # Every reservation's amount once, whatever became of it: a count of its own beside the rows of `reservations`.
    Column("reserved_ever_picos", BigInteger, nullable=False, server_default="0"),
)

# What is declared: every replica goes by it, whichever tenants file it started with.
BUDGETS = Table(
    "budgets",
    METADATA,
    Column("tenant", String(255), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("period", String(16), nullable=False),
    Column("feature", String(255), nullable=False),
    Column("endpoint", String(255), nullable=False),
    Column("model", String(255), nullable=False),
    Column("principal", String(255), nullable=False),
    Column("amount_picos", BigInteger, nullable=False),
    Column("hard", Boolean, nullable=False),
    Column("thresholds_json", Text, nullable=False),
    Column("counted_from", String(10), nullable=False),
)

# What the budgets count, but for those of a tenant's whole month.
BUDGET_ACCOUNTS = Table(
    "budget_accounts",
    METADATA,
    Column("tenant", String(255), primary_key=True),
    Column("period", String(10), primary_key=True),
    Column("budget", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("reserved_picos", BigInteger, nullable=False),
    Column("spent_picos", BigInteger, nullable=False),
    Column("announced_percent", Integer, nullable=False),
)

RESERVATIONS = Table(
    "reservations",
    METADATA,
    Column("tenant", String(255), primary_key=True),
    Column("reservation_id", String(255), primary_key=True),
    Column("request_id", String(255), nullable=False),
    Column("period", String(7), nullable=False),
    Column("amount_picos", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("held_on_json", Text, nullable=False, server_default="[]"),  # the accounts of budgets, but for the month
)
HOLDS = RESERVATIONS.c.state.in_(("held", "unknown"))
"""The condition that a reservation still holds its amount: `Reservation.holds` in SQL."""
Index("reservations_by_request", RESERVATIONS.c.tenant, RESERVATIONS.c.request_id)
Index("reservations_by_state", RESERVATIONS.c.tenant, RESERVATIONS.c.state)
Index("reservations_by_period", RESERVATIONS.c.period, RESERVATIONS.c.tenant, RESERVATIONS.c.state)

OUTCOMES = Table(
    "outcomes",
    METADATA,
    Column("tenant", String(255), primary_key=True),
    Column("request_id", String(255), primary_key=True),
    Column("attempts", Integer, nullable=False),
    Column("embedding_tokens", BigInteger, nullable=False),
    Column("closed_us", BigInteger, nullable=False, server_default="0"),  # when the outcome came here
)

INBOX = inbox_tables(METADATA)
