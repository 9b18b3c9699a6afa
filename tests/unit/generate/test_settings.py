"""Who takes a partition over gives up what its last owner began: so no drain may be shorter than a model call."""

import pytest
from headrace_generate.settings import DRAIN_MARGIN_S, Settings
from pydantic import ValidationError

BUS = {"bootstrap": "nowhere:0"}
HOSTED = """
models:
  - {name: big, kind: openai, provider: acme, base_url: "https://llm.acme.example/v1", model: big-1,
     context_tokens: 32000, output_tokens_max: 300, timeout_s: 240}
"""


@pytest.fixture
def hosted(tmp_path):
    """Return a catalogue with a model that may take four minutes."""
    (tmp_path / "models.yaml").write_text(HOSTED)
    return tmp_path / "models.yaml"


def test_the_drain_follows_from_the_longest_call_of_the_served_models(hosted):
    """Hosted models are all served; a local one is where it is held in memory, and the null model takes its delay."""
    assert Settings(kafka=BUS).drain_s == 60 + DRAIN_MARGIN_S
    assert Settings(kafka=BUS, models_file=hosted).drain_s == 240 + DRAIN_MARGIN_S
    assert Settings(kafka=BUS, model="null").drain_s == 30
    assert Settings(kafka=BUS, model="null", null_delay_s=45).drain_s == 45 + DRAIN_MARGIN_S
    assert Settings(kafka=BUS, model="null", local_models=["smollm2-135m-instruct"]).drain_s == 60 + DRAIN_MARGIN_S


@pytest.mark.parametrize("drain_s", [5, 60])
def test_a_drain_that_a_call_can_outlast_is_refused(drain_s):
    """It says which two numbers do not go together."""
    with pytest.raises(ValidationError, match=rf"DRAIN_S is {drain_s}, and a model call may take 60 s"):
        Settings(kafka=BUS, drain_s=drain_s)
    assert Settings(kafka=BUS, drain_s=61).drain_s == 61


def test_a_catalogue_that_cannot_be_read_is_a_wrong_setting(tmp_path):
    """`--validate` tells, and the service does not start."""
    with pytest.raises(ValidationError, match="models cannot be read"):
        Settings(kafka=BUS, models_file=tmp_path / "nowhere.yaml")
    with pytest.raises(ValidationError, match="no model"):
        Settings(kafka=BUS, model="gpt-9")


def test_an_engine_may_be_silent_for_some_seconds():
    """It speaks when a step ends; a limit below that would end a healthy one over and over."""
    with pytest.raises(ValidationError, match="engine_silent_max_s"):
        Settings(kafka=BUS, engine_silent_max_s=4.9)
    assert Settings(kafka=BUS, engine_silent_max_s=5).engine_silent_max_s == 5
