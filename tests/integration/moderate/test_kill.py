"""kill -9 at any point leaves whole transactions or none of them."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

PROGRAM = Path(__file__).with_name("killed.py")
KILLS = 16


def test_after_kills_at_any_point_each_decision_stands_once_with_its_events(tmp_path):
    """Rows and outbox agree: every decided request has its one outcome in the outbox, always the same bytes and id."""
    path = tmp_path / "state.db"
    subprocess.run([sys.executable, PROGRAM, path, str(KILLS)], check=True, timeout=120)

    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = database.execute("SELECT request_id, outcome_kind, admitted, follows FROM requests").fetchall()
        sent = database.execute("SELECT topic, key, headers, value FROM outbox").fetchall()
    outcomes, admissions = defaultdict(set), defaultdict(set)
    for topic, key, headers, value in sent:
        event_id = dict(json.loads(headers))["ce_id"]
        if topic == "headrace.answer.completed.v1":
            outcomes[key.decode()].add((event_id, value))
        elif topic == "headrace.moderate.query-admitted.v1":
            admissions[key.decode()].add(event_id)

    assert len(rows) > 10, "a slow machine gets less done before it is killed, but not nothing"
    for request_id, kind, admitted, follows in rows:
        assert len(outcomes[request_id]) == (1 if kind else 0), request_id
        assert len(admissions[request_id]) == (0 if follows else 1), request_id
        assert (admitted is None) == bool(kind or follows), request_id
    assert {kind for _, kind, _, _ in rows} - {None}, "some were decided"
