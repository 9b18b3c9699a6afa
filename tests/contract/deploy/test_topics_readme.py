"""deploy/kafka/README.md says of every setting of a topic that `headrace topics apply` sets it."""

import re
from pathlib import Path

import pytest
from headrace.topics import environments
from headrace_messaging.provisioning import wanted_topics

README = (Path(__file__).parents[3] / "deploy" / "kafka" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("environment", environments().values(), ids=lambda environment: environment.name)
def test_every_setting_that_is_ours_is_named(environment):
    """Whoever runs the brokers learns there what is taken out of their hands."""
    (row,) = [line for line in README.splitlines() if line.endswith("settings that we do not declare stay |")]
    ours = {name for topic in wanted_topics(environment) for name in topic.settings}
    assert set(re.findall(r"`([a-z.]+)`", row)) == ours
