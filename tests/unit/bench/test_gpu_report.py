"""What the GPU benchmark concludes: the round in the middle counts, and what is missing is a goal missed."""

import json

from bench.gpu.report import Findings, Row, goals_of, medians, write_report

ROUNDS = [
    *(Row("generate", "headrace generate", True, 1, speed, 100.0) for speed in (10.0, 60.0, 90.0)),
    *(Row("generate", "transformers", False, 1, 30.0) for _ in range(3)),
    Row("embed", "headrace embed", True, 1, 9.0, 90.0),
]


def test_ratios_are_of_medians_and_shares_of_what_the_memory_gives():
    """One lucky round decides nothing."""
    goals = {goal.name: goal for goal in goals_of(medians(ROUNDS))}
    assert (goals["generate_1_of_peer"].value, goals["generate_1_of_peer"].met) == (2.0, True)
    assert (goals["generate_1_of_memory_bandwidth"].value, goals["generate_1_of_memory_bandwidth"].met) == (0.6, True)


def test_what_was_measured_on_one_side_only_is_no_goal_met():
    """Half a comparison has no ratio, and nothing measured has no share."""
    goals = {goal.name: goal for goal in goals_of(medians(ROUNDS))}
    assert (goals["embed_1_of_peer"].value, goals["embed_1_of_peer"].met) == (None, False)
    assert [goal.met for goal in goals_of([])] == [False]


def test_the_report_says_what_is_missing_and_why(tmp_path):
    """Beside all rounds and their medians."""
    write_report(tmp_path / "gpu.json", Findings(ROUNDS, {"versions": {}}, {"transformers": "no torch"}))
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert (len(report["rows"]), len(report["rounds"]), report["missing"]) == (3, 7, {"transformers": "no torch"})
    assert {row["contender"]: row["share"] for row in report["rows"]}["headrace generate"] == 0.6
