"""The report takes medians, hides nothing that went wrong, and says who was busy."""

import json
from dataclasses import replace

import pytest
from bench.bus.cases import FULL, JOURNAL, QUICK, Agenda, Case, Setup
from bench.bus.cpu import BROKER, DATABASE, GENERATOR, OTHERS, limit_of
from bench.bus.pacing import Measured
from bench.bus.report import Row, goals_of, limits_of, median_of, medians, print_table, write_report

CORES = {"library-1": 0.5, BROKER: 0.25, DATABASE: 0.0, GENERATOR: 0.125, OTHERS: 0.1}


def row(setup: Setup, achieved: float, rate: float | None = None, p50_ms: float | None = 5.0, **went) -> Row:
    return Row(Case(setup, rate), Measured(rate, achieved, p50_ms, 9.0, 100, **went), CORES)


def sound() -> list[Row]:
    """Return rows that meet every goal, each just so."""
    most = {"bare": 1000, "library": 600, "faststream": 200, "platform": 320}
    full = [row(Setup(chain), achieved) for chain, achieved in most.items()]
    slow = [row(Setup("bare"), 100, 100, p50_ms=4.0), row(Setup("library"), 100, 100, p50_ms=16.0)]
    return [*full, *slow, row(Setup(JOURNAL, 0), 400)]


def values(rows: list[Row]) -> dict[str, float | None]:
    return {goal.name: goal.value for goal in goals_of(rows)}


def missed(rows: list[Row]) -> list[str]:
    return [goal.name for goal in goals_of(rows) if not goal.met]


def test_ratios_are_of_the_same_run():
    """The library by bare and by FastStream; the platform by the lower of the library and the journal's commits."""
    assert values(sound()) == {
        "library_of_bare_throughput": 0.6,
        "library_added_p50_ms_per_hop_at_100": 3.0,
        "platform_of_lower_limit_throughput": 0.8,
        "library_of_faststream_throughput": 3.0,
        "requests_lost": 0,
        "requests_unanswered": 0,
    }
    assert missed(sound()) == []


def test_the_order_and_number_of_rows_do_not_matter():
    """Goals name the shape they are about: other partitions and replicas, measured before or after, change nothing."""
    grown = [row(Setup("library", 1), 1), row(Setup("library", 8, 3), 9000), row(Setup("bare", 8), 1)]
    assert values([*grown, *reversed(sound())]) == values(sound())


def test_each_miss_is_named():
    """Slower, later, lost or refused; a figure that could not be had is a miss too."""
    rows = sound()
    assert missed([row(Setup("bare"), 1201), *rows[1:]]) == ["library_of_bare_throughput"]
    assert missed([*rows, row(Setup("bare", 1), 5, lost=1)]) == ["requests_lost"]
    assert missed([*rows, row(Setup("bare", 1), 5, unanswered=2)]) == ["requests_unanswered"]
    silent = [replace(one, measured=replace(one.measured, p50_ms=None)) for one in rows]
    assert missed(silent) == ["library_added_p50_ms_per_hop_at_100"]


def test_a_case_is_the_median_of_its_rounds():
    """Figure by figure; what went wrong is added up, so that no round hides another's."""
    bare = Setup("bare")
    rounds = [
        row(bare, achieved, None, p50, lost=lost) for achieved, p50, lost in ((90, 7, 0), (100, 5, 2), (10, 6, 1))
    ]
    seen = median_of(rounds).measured
    assert (seen.achieved, seen.p50_ms, seen.lost, seen.requests) == (90, 6, 3, 300)
    assert median_of([row(bare, 1, None, None), row(bare, 1, None, 4)]).measured.p50_ms == 4
    assert medians([*rounds, *sound()])[0].case == Case(bare)
    assert len(medians([*sound(), *sound()])) == len(sound())


def test_cpu_is_told_for_a_thousand_requests():
    """Of the chain's processes together, and of everybody around it."""
    spent = Row(Case(Setup("library", 8, 2)), Measured(None, 500, 1, 2, 100), {**CORES, "library-2": 0.3})
    assert spent.cpu_s_per_thousand() == pytest.approx({"chain": 1.6, BROKER: 0.5, DATABASE: 0.0, GENERATOR: 0.25})
    assert set(row(Setup("bare"), 0).cpu_s_per_thousand().values()) == {None}


def test_the_limit_is_the_process_that_has_its_core_full():
    """A Python process cannot take more than one; brokers and databases can, so that only all cores limit those."""
    assert limit_of({"bare-1": 0.97, BROKER: 0.6, GENERATOR: 0.4}, 2).startswith("one core of bare-1 (1.97 of 2")
    assert limit_of({"bare-1": 0.2, BROKER: 0.3, GENERATOR: 0.99}, 2).startswith("one core of generator")
    assert limit_of({"a-1": 0.95, "a-2": 0.96, BROKER: 1.5}, 4).startswith("one core of a-2 and of a-1")
    assert limit_of({"platform": 0.6, BROKER: 1.2, GENERATOR: 0.15}, 2).startswith("the machine's 2 cores together")
    assert limit_of({"faststream-1": 0.4, BROKER: 0.3, GENERATOR: 0.1}, 2).startswith("waiting, not CPU (0.80 of 2")


def test_limits_are_told_of_full_loads():
    """At a rate nothing is meant to be at its limit."""
    assert len(limits_of(sound())) == 5


def test_a_rate_that_was_missed_stands_in_the_row():
    """With what was offered, and how many were never sent."""
    assert row(Setup("platform"), 61.5, 100, unsent=31).text().endswith("RATE MISSED UNSENT 31")
    assert "61.5 of 100" in row(Setup("platform"), 61.5, 100).text()
    assert "MISSED" not in row(Setup("platform"), 99.5, 100).text()


def test_the_file_has_versions_rows_and_goals(tmp_path, capsys):
    """Medians are the rows; every round is kept beside them, and what limits each chain."""
    file = tmp_path / "bench" / "bus.json"
    rows = [*sound(), *sound()]
    write_report(file, rows, goals_of(medians(rows)), {"kafka": "4.2.0"})
    document = json.loads(file.read_text())
    assert document["versions"] == {"kafka": "4.2.0"}
    assert (len(document["rows"]), len(document["rounds"])) == (7, 14)
    assert document["rows"][0]["chain"] == "bare"
    assert document["goals"][0] == {
        "name": "library_of_bare_throughput", "value": 0.6, "goal": 0.5, "better": "higher", "met": True
    }  # fmt: skip
    print_table(medians(rows), goals_of(medians(rows)))
    assert "MISS" not in capsys.readouterr().out


def test_rounds_go_there_and_back():
    """A setup's cases stay together, and what drifts in the course of a run favours nobody."""
    cases = [Case(Setup("bare"), 20), Case(Setup("bare")), Case(Setup("library"))]
    agenda = Agenda(cases, rounds=2, warm_up_s=0, seconds=1, broker_warm_up_s=0)
    assert agenda.turns(0) == [cases[:2], cases[2:]]
    assert agenda.turns(1) == [cases[2:], cases[:2]]


@pytest.mark.parametrize("agenda", [FULL, QUICK], ids=["full", "quick"])
def test_every_agenda_has_what_the_goals_need(agenda):
    """No case twice, and at least two rounds where figures mean something."""
    assert len(set(agenda.cases)) == len(agenda.cases)
    goals_of([Row(case, Measured(case.per_second, 1, 1, 1, 1), CORES) for case in agenda.cases])
    assert FULL.rounds >= 2
