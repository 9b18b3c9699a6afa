"""`make quality`: how good the answers are, through the whole platform, on every question of XQuAD.

It starts a platform of its own, asks as its users would, writes build/quality/report.json and prints a table. Exit code
1 when a goal is missed. `--articles N` takes the first N of the 24 articles, for a look; its figures prove nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # `quality` is a folder of tests, not an installed package

from headrace_testkit.platform import running_platform
from quality.platform_run import ask_all, ask_left_out, evidence_scores, ingest, search_all, write_tenants
from quality.questions import data_folder, read_xquad
from quality.report import goals_of, print_table, rows_of, write_report
from quality.threshold import threshold_goals

REPORT = Path("build/quality/report.json")


def main() -> int:
    """Measure, report, and say whether every goal was met."""
    parser = argparse.ArgumentParser(prog="python -m tests.quality", description=__doc__)
    parser.add_argument("--articles", type=int, default=24, help="how many articles to take")
    data = read_xquad(data_folder() / "xquad" / "xquad.en.dev.json", parser.parse_args().articles)
    with tempfile.TemporaryDirectory(prefix="headrace-quality-") as place:
        folder = Path(place)
        tenants = folder / "tenants.yaml"
        write_tenants(data, tenants)
        with running_platform(folder / "data", arguments=("--tenants", str(tenants))) as platform:
            ingest(platform, data, folder / "articles")
            found = search_all(platform, data, folder)
            answered = ask_all(platform, data, folder)
            left_out = ask_left_out(platform, data, folder)
            scores = evidence_scores(platform)
    rows = rows_of(data, found, answered, left_out, scores)
    goals = goals_of(rows) + threshold_goals(rows)
    write_report(REPORT, rows, goals)
    print_table(rows, goals)
    return 0 if all(goal["met"] for goal in goals) else 1


sys.exit(main())
