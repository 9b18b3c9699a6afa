"""What the generation benchmark concludes: medians decide, only good bodies count, and a peer is held to float32."""

import json

import numpy as np
import pytest
from bench.generate.cases import Case
from bench.generate.material import Quality
from bench.generate.report import Choices, Findings, Row, choices_of, goals_of, write_report

CASE = Case(64, 4)


def row(name: str, total_per_s: float, *, ours: bool = False) -> Row:
    """Make a row of one round."""
    return Row(name, CASE, ours, 1.0, 1.0, total_per_s, 1.0)


ROUNDS = [
    *(row("headrace q4x", speed, ours=True) for speed in (90.0, 120.0, 500.0)),
    *(row("headrace w8a8", 900.0, ours=True) for _ in range(3)),
    *(row("llama.cpp", speed) for speed in (99.0, 100.0, 101.0)),
    *(row("openvino-genai", speed) for speed in (10.0, 50.0, 300.0)),
]
CHOICES = [Choices("llama.cpp", 0.99, 0.0), Choices("openvino-genai", 0.97, 0.02)]
QUALITY = [Quality("q4x", 54.6, 0.004, 0.96), Quality("w8a8", 56.4, 0.04, 0.9)]


def test_the_round_in_the_middle_counts_for_us_and_for_peers():
    """One lucky round of anybody decides nothing; a body that diverges is not of equal quality."""
    company, ratio = goals_of(ROUNDS, QUALITY, CHOICES, differences=2)
    assert (company.name, company.value, company.met) == ("outputs_that_depend_on_company", 2, False)
    assert (ratio.name, ratio.value, ratio.met) == ("of_best_peer_4_streams_64", 1.2, True)


@pytest.mark.parametrize("side", ["headrace", "llama"])
def test_what_was_measured_on_one_side_only_is_no_goal_met(side):
    """Half a comparison has no ratio."""
    _, ratio = goals_of([one for one in ROUNDS if one.contender.startswith(side)], QUALITY, CHOICES, differences=0)
    assert (ratio.value, ratio.met) == (None, False)


def test_outputs_that_were_not_compared_are_no_goal_met():
    """Nothing of ours ran."""
    company, _ = goals_of(ROUNDS, QUALITY, CHOICES, differences=None)
    assert not company.met


def test_who_writes_other_tokens_is_no_peer():
    """Its rows stand in the table; the ratio is to the best of those that write what the file says."""
    rounds = [*ROUNDS, *(row("careless", 1000.0) for _ in range(3))]
    choices = [*CHOICES, Choices("careless", 0.7, 0.27)]
    _, ratio = goals_of(rounds, QUALITY, choices, differences=0)
    assert ratio.value == 1.2


def test_a_contender_is_judged_by_what_float32_says_of_its_tokens():
    """Whoever else is measured: how often it chose the likeliest, and how far behind its other tokens are."""
    expected = np.array([[-1.0, -2.0, -3.0], [-0.5, -4.0, -2.0]])
    assert choices_of("peer", [0, 0], expected) == Choices("peer", 1.0, 0.0)
    assert choices_of("peer", [1, 0], expected) == Choices("peer", 0.5, 0.5)


def test_the_report_has_medians_beside_all_rounds(tmp_path):
    """So that a reader can see how far apart the rounds were."""
    goals = goals_of(ROUNDS, QUALITY, CHOICES, differences=0)
    found = Findings(ROUNDS, QUALITY, CHOICES, goals, {"python": "3"}, {"v": "gone"})
    write_report(tmp_path / "report.json", found)
    report = json.loads((tmp_path / "report.json").read_text())
    assert {one["contender"]: one["total_per_s"] for one in report["rows"]}["openvino-genai"] == 50.0
    assert (len(report["rounds"]), report["choices"][1]["nats_lost"], report["missing"]) == (12, 0.02, {"v": "gone"})
