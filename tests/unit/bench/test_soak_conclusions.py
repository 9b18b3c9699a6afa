"""What a soak concludes: what was not watched to the end is no goal met."""

from collections import Counter
from typing import Any

from bench.goals import Goal
from soak.conclusions import Served, concluded

SECONDS, CAPACITY = 30.0, 2.0


def lines(count: int, *, lag_ms: float = 1.0, growing: float = 0.0) -> list[dict[str, float]]:
    """Tell a line a second; the worst stall is in the middle."""
    return [{"lag_ms": lag_ms if at == count // 2 else 0.5, "rss_mb": 100 + growing * at} for at in range(count)]


def served() -> Served:
    """60 answered in a second each, 60 refused at once."""
    asked = [(at / 2, 1.0) for at in range(60)]
    return Served(asked, [0.01] * 60, Counter(OK=60, RESOURCE_EXHAUSTED=60))


def conclude(found: Served, told: Any, idle: Any) -> tuple[dict[str, Any], dict[str, Goal]]:
    figures, goals = concluded(found, told, [idle, lines(30)], capacity=CAPACITY, seconds=SECONDS)
    return figures, {goal.name: goal for goal in goals}


def test_a_service_that_holds_out_meets_every_goal():
    """Answers at its capacity, the rest refused with a hint; its stalls are an idle loop's, as far as sleeps tell."""
    figures, goals = conclude(served(), lines(30, lag_ms=6.9), lines(30, lag_ms=4.0))
    assert all(goal.met for goal in goals.values())
    assert (figures["refused_p99_s"], figures["p99_last_third_s"], figures["rss_mb_max"]) == (0.01, 1.0, 100)


def test_growth_longer_waits_longer_stalls_and_refusals_without_a_hint_show():
    """Each misses its goal."""
    found = served()
    found.latencies[50:] = [(at, 2 * taken) for at, taken in found.latencies[50:]]
    found.without_hint = 1
    _, goals = conclude(found, lines(30, lag_ms=7.1, growing=1.0), lines(30, lag_ms=4.0))
    missed = {name for name, goal in goals.items() if not goal.met}
    assert missed == {
        "memory_end_of_begin", "p99_last_third_of_first", "stall_ms_beyond_idle_loops", "refused_without_hint"
    }  # fmt: skip


def test_the_control_is_the_longest_stop_of_any_core():
    """A core that the machine takes away for a while stops the idle loop on it, and the service if it runs there."""
    figures, goals = conclude(served(), lines(30, lag_ms=41.0), lines(30, lag_ms=40.0))
    assert (figures["stall_ms"], figures["idle_stall_ms"]) == (41.0, 40.0)
    assert goals["stall_ms_beyond_idle_loops"].met


def test_one_bad_window_is_told_and_no_drift():
    """The windows say when waits were long; the goal asks whether they grow."""
    found = served()
    found.latencies[-2:] = [(at, 5 * taken) for at, taken in found.latencies[-2:]]
    figures, goals = conclude(found, lines(30), lines(30))
    assert [each["p99_s"] for each in figures["windows"]] == [1.0] * 19 + [5.0]
    assert [each["answered"] for each in figures["windows"]] == [3] * 20
    assert goals["p99_last_third_of_first"].met


def test_stalls_at_moments_when_the_machine_went_on_are_not_excused_by_one_when_it_did_not():
    """One long stop of everybody; all else is the service's own, in every window."""
    told = [{"lag_ms": 20.0, "rss_mb": 100.0} for _ in range(30)]
    figures, goals = conclude(served(), told, lines(30, lag_ms=40.0))
    assert goals["stall_ms_beyond_idle_loops"].met
    assert not goals["middle_stall_ms_beyond_idle_loops"].met
    assert figures["worst_stall_ms_beyond_idle_loops"] == 19.5


def test_who_stopped_telling_of_itself_has_not_shown_that_it_never_stalled():
    """A loop that hangs for good tells nothing, and nothing is what a stall of zero looks like."""
    for told, idle in ((lines(20), lines(30)), (lines(30), lines(20)), ([], [])):
        _, goals = conclude(served(), told, idle)
        assert (goals["stall_ms_beyond_idle_loops"].value, goals["memory_end_of_begin"].value) == (None, None)
        assert goals["middle_stall_ms_beyond_idle_loops"].value is None
