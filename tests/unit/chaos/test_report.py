"""The report says what was wanted, and a miss anywhere is a miss of the run."""

import json

from chaos.report import COUNTS, Check, Row, write_report


def row(**changed) -> Row:
    """Return a row that met everything."""
    fields = {"row": 4, "fault": "a fault", "seed": 7, "requests": 3, "counts": dict.fromkeys(COUNTS, 0)}
    return Row(**(fields | {"recovery_s": 2.5} | changed))


def missed(one: Row) -> list[str]:
    return [goal.name for goal in one.goals() if not goal.met]


def test_a_row_without_findings_meets_every_goal():
    """Every count, the recovery and the end are goals, named by their row."""
    assert missed(row()) == []
    assert {"04.lost", "04.double_billed", "04.recovery_s", "04.ran_to_its_end"} <= {one.name for one in row().goals()}


def test_each_miss_is_named():
    """A count above 0, a slow recovery, a check of the fault's own and an error are misses."""
    assert missed(row(counts={"lost": 1})) == ["04.lost"]
    assert missed(row(counts={"not_answered": 3}, allowed={"not_answered": 2})) == ["04.not_answered"]
    assert missed(row(counts={"not_answered": 2}, allowed={"not_answered": 2})) == []
    assert missed(row(part="replicas", counts={"lost": 1})) == ["04-replicas.lost"]
    assert missed(row(recovery_s=61)) == ["04.recovery_s"]
    assert missed(row(recovery_s=61, recovery_max_s=90)) == []
    assert missed(row(checks=[Check("kills", 0, 1, "higher"), Check("crashes", 0, 0)])) == ["04.kills"]
    assert missed(row(error="TimeoutError: late")) == ["04.ran_to_its_end"]


def test_the_file_has_versions_rows_and_goals(tmp_path):
    """Rows are flat; goals say name, value, goal, which way is better, and whether it was met."""
    file = tmp_path / "chaos" / "report.json"
    write_report(
        file,
        [row(checks=[Check("kills", 5, 1, "higher")], outcomes={"answered": 3})],
        {"kafka": "4.2.0"},
        complete=True,
    )
    document = json.loads(file.read_text())
    assert document["versions"]["kafka"] == "4.2.0"
    (written,) = document["rows"]
    assert {name: written[name] for name in ("fault", "seed", "requests", "lost", "kills", "recovery_s")} == {
        "fault": "a fault",
        "seed": 7,
        "requests": 3,
        "lost": 0,
        "kills": 5,
        "recovery_s": 2.5,
    }
    kills = next(goal for goal in document["goals"] if goal["name"] == "04.kills")
    assert kills == {"name": "04.kills", "value": 5, "goal": 1, "better": "higher", "met": True}
