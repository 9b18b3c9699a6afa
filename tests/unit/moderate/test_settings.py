"""What moderate is told is checked before it starts."""

from __future__ import annotations

import pytest
from headrace_moderate.domain.verdicts import Action, Subject
from headrace_moderate.settings import Settings
from pydantic import ValidationError

KAFKA = {"bootstrap": "127.0.0.1:1"}
SILENT = "{input: [], retrieval: [], output: []}"


def test_without_a_file_the_built_in_rails_run():
    """They refuse an empty question."""
    assert Settings(kafka=KAFKA).policy().judge("input", Subject("")).action is Action.BLOCK


def test_a_file_takes_the_place_of_the_built_in_rails(tmp_path):
    """As a whole: what it does not declare does not run."""
    (tmp_path / "rails.yaml").write_text(SILENT)
    policy = Settings(kafka=KAFKA, rails_file=tmp_path / "rails.yaml").policy()
    assert policy.judge("input", Subject("")).action is Action.ALLOW


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "rails_file"), ("input: []", "must name exactly"), (SILENT.replace("[]", "[{rail: x}]", 1), r"input\[0\]")],
)
def test_a_file_that_cannot_be_used_stops_the_service_before_it_starts(tmp_path, content, says):
    """With the place and the cause."""
    file = tmp_path / "rails.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValidationError, match=says):
        Settings(kafka=KAFKA, rails_file=file)
