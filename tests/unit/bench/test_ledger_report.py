"""The ledger's report keeps each case's best round, and what a verification takes stands beside what booking does."""

from bench.ledger.record import verify
from bench.ledger.report import best_of, goals_of, text


def verified(database, links_per_s):
    """Make the row of a record of 1,000 links."""
    return {"kind": "verify", "database": database, "links": 1_000, "links_per_s": links_per_s}


def test_of_rounds_the_best_stays():
    """An export is a case of its own beside the file that it was made of."""
    rounds = [verified("sqlite", 10.0), verified("export", 5.0), verified("sqlite", 20.0), verified("export", 4.0)]

    assert best_of(rounds) == [verified("sqlite", 20.0), verified("export", 5.0)]


def test_a_verification_is_told_and_has_no_goal():
    """Nobody said how quick it has to be; goals of booking do not look at it."""
    assert text(verified("export", 20.0)).split() == ["verify", "export", "1000", "links", "20", "links/s"]
    assert {goal.value for goal in goals_of([verified("postgresql", 20.0)])} == {None}


def test_what_is_measured_is_a_record_that_verifies(tmp_path):
    """Where it lies and in its export, with signatures checked: the figure of a broken one would mean nothing."""
    rates = verify(str(tmp_path / "state.db"), 600, tmp_path / "audit.jsonl")

    assert set(rates) == {"sqlite", "export"}
    assert min(rates.values()) > 0
