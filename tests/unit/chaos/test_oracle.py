"""The oracle finds what it is for: every planted fault by its name, and nothing where all is well."""

from dataclasses import asdict, replace

import pytest
from chaos.evidence import Question, Run, Submission
from chaos.oracle import (
    chain_breaks,
    judge,
    latencies_ms,
    ledger_differences,
    not_answered,
    not_indexed,
    outcome_counts,
    percentile,
)

from .records import admitted, chain, cost, decision, evidence, outcome, seen, sound, status, usage

WELL = sound()


def found(**changed) -> dict[str, list[str]]:
    """Return what was found, by name, without what is empty."""
    return {name: lines for name, lines in asdict(judge(evidence(**changed))).items() if lines}


def test_a_sound_row_has_no_findings():
    """Nothing is found where nothing is wrong."""
    assert found() == {}


def test_a_question_without_an_outcome_is_lost():
    """Each question needs an outcome on the topic."""
    assert found(outcomes=WELL["outcomes"][:2]) == {"lost": ["q3 has no outcome"]}


def test_a_document_version_without_an_end_is_lost():
    """`submitted` is no end; `failed`, such as superseded, is one."""
    assert found(statuses=WELL["statuses"][:3]) == {"lost": ["notes #2 has no final status"]}
    assert found(statuses=[*WELL["statuses"][:3], status("d2", 2, "FAILED")]) == {}


@pytest.mark.parametrize("ending", ["ANSWERED", "FAILED"])
def test_each_further_outcome_is_a_duplicate(ending):
    """The same outcome again and another one count alike, each time."""
    assert found(outcomes=[*WELL["outcomes"], outcome("q2", 1), outcome("q2", 2, ending)])["duplicated"] == [
        "q2 has 3 outcomes",
        "q2 has 3 outcomes",
    ]


@pytest.mark.parametrize("topic", ["costs", "audit", "usages", "statuses", "decisions"])
def test_a_second_copy_of_an_event_from_an_outbox_is_a_duplicate(topic):
    """What a relay published is once on its topic, by event id."""
    lines = found(**{topic: [*WELL[topic], WELL[topic][0]]})["duplicated"]
    assert len(lines) == 1
    assert "2 times" in lines[0]


def test_what_a_service_was_started_with_needs_no_place_in_the_audit_record():
    """It says so at each start, and audit records what changed."""
    said = decision("start")
    started = replace(said, headers=said.headers | {"ce_subject": "configuration.declared"})
    assert found(decisions=[*WELL["decisions"], started]) == {}


def test_each_decision_has_one_place_in_the_audit_record():
    """A decision that the record lacks is lost, though the chain follows; one with two links is doubled."""
    assert found(audit=WELL["audit"][:2]) == {"lost": ["decision d3 of 'acme' is not in the record"]}
    twice = [seen("audit", link.id, **(link.payload | {"record_id": "d1"})) for link in WELL["audit"][:2]]
    assert found(audit=[*twice, WELL["audit"][2]]) == {
        "lost": ["decision d2 of 'acme' is not in the record"],
        "duplicated": ["decision d1 has 2 links"],
    }


def test_what_was_not_answered_or_indexed_is_named_with_its_end():
    """Each request by its last outcome; a version that a newer one overtook did not fail."""
    assert not_answered([outcome("q1"), outcome("q2", ending="FAILED", reason="dead_lettered")]) == [
        "q2 ended failed: dead_lettered"
    ]
    states = [status("d1", 1, "FAILED", "superseded"), status("d2", 2, "FAILED", "unreadable"), status("d3", 1)]
    assert not_indexed(states) == ["d2 failed: unreadable"]


def test_two_cost_rows_of_one_attempt_and_meter_are_billed_twice():
    """Another event id does not excuse a second row."""
    assert found(costs=[*WELL["costs"], cost("q1", event="again")])["double_billed"] == ["q1/1 input_tokens 2 times"]


def test_usage_and_cost_have_to_tell_the_same():
    """A missing cost row, another quantity and a cost row of nothing are each found."""
    assert found(costs=WELL["costs"][:2])["unbilled"] == ["usage u-q3-1: used {'input_tokens': 7}, rated None"]
    assert len(found(costs=[*WELL["costs"][:2], cost("q3", used=8)])["unbilled"]) == 1
    assert found(costs=[*WELL["costs"], cost("q9")])["unbilled"] == ["cost rows of unknown usage u-q9-1"]


def test_a_run_that_no_usage_tells_of_is_unbilled():
    """What the model's own log holds has to be told."""
    lines = found(usages=WELL["usages"][:2], costs=WELL["costs"][:2])["unbilled"]
    assert lines == ["q3 attempt 1 ran and no usage tells of it"]


def test_a_second_run_is_explained_by_an_attempt_that_was_cut_short():
    """A kill between reply and journal leaves one attempt unknown, and the next may run; without that it may not."""
    again = [*WELL["runs"], Run("q1", 2)]
    cut_short = {
        "usages": [usage("q1", 1, "unknown", 0), usage("q1", 2), *WELL["usages"][1:]],
        "costs": [cost("q1", 1, 0), cost("q1", 2), *WELL["costs"][1:]],
    }
    assert found(runs=again, **cut_short) == {}
    billed_twice = {"usages": [*WELL["usages"], usage("q1", 2)], "costs": [*WELL["costs"], cost("q1", 2)]}
    assert found(runs=again, **billed_twice) == {"extra_runs": ["q1 ran 2 times, 0 cut short"]}


def test_an_attempt_runs_once():
    """Two runs under one attempt number are found, whatever its usage says."""
    lines = found(runs=[*WELL["runs"], Run("q2", 1)])["extra_runs"]
    assert "q2 attempt 1 ran 2 times" in lines


def test_a_later_question_of_a_key_must_not_take_effect_first():
    """What counts is the first delivery: an old one again later breaks nothing. Keys have no order among them."""
    swapped = [admitted("q1", 3), admitted("q2", 2), admitted("q3", 9)]
    assert found(admitted=swapped) == {"order_breaks": ["k: #2 was admitted before #1"]}
    assert found(admitted=[*WELL["admitted"], admitted("q1", 7)]) == {}


def test_a_documents_versions_follow_its_submissions():
    """The later submission is the later version."""
    swapped = [status("d1", 2), status("d2", 1)]
    assert found(statuses=swapped) == {"order_breaks": ["notes: #2 became version 1, #1 version 2"]}


def test_an_outcome_that_nobody_asked_for_is_a_stray():
    """A request is known to the generator."""
    assert found(outcomes=[*WELL["outcomes"], outcome("ghost")]) == {"strays": ["ghost was never asked"]}


def test_a_chain_has_to_follow():
    """A missing link, a changed record and a fork are each named by their sequence."""
    links = chain("1", "2", "3", "4")
    assert chain_breaks(links) == []
    assert chain_breaks(links[:1] + links[2:]) == ["audit-0 lacks link 2"]
    changed = replace(links[2], payload=links[2].payload | {"record_json": "x"})
    assert chain_breaks([*links[:2], changed, links[3]]) == ["audit-0 does not follow at 3"]
    assert chain_breaks([*links, changed])[0] == "audit-0 has two links 3"


def test_the_ledger_is_compared_by_model_and_meter():
    """A copy of a row counts once; a difference names both sides."""
    rows = [*WELL["costs"], WELL["costs"][0]]
    assert ledger_differences(rows, {("null", "input_tokens"): 21}) == []
    assert ledger_differences(rows, {("null", "input_tokens"): 28}) == ["null/input_tokens: cost topic 21, ledger 28"]


def test_outcomes_and_latencies_are_counted_once_a_request():
    """The first outcome ends the wait."""
    outcomes = [outcome("q1", 150), outcome("q1", 900), outcome("q2", 230, "FAILED", "unavailable")]
    assert outcome_counts(outcomes) == {"answered": 1, "failed: unavailable": 1}
    assert latencies_ms(WELL["questions"], outcomes) == {"q1": 50, "q2": 30}
    assert (percentile([1, 2, 3, 4], 50), percentile([], 99)) == (3, 0)


def test_questions_of_a_key_may_lie_anywhere():
    """Order is by the generator's numbers, not by the list's order; a question that was never admitted is skipped."""
    questions = [Question("q2", "k", 2, 0), Question("q1", "k", 1, 0), Question("q4", "k", 3, 0)]
    assert "order_breaks" not in found(questions=questions)
    assert found(submissions=[Submission("d9", "notes", 3)])["lost"] == ["notes #3 has no final status"]
