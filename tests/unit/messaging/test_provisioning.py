"""What Kafka is to hold, and what is said of a Kafka that holds something else."""

import pytest
from headrace.topics import AUDIT_RECORDED, QUERY_REQUESTED, Environment, environments, topic, topics
from headrace_messaging.provisioning import FoundTopic, WantedTopic, compare, topics_of, undeclared, wanted_topics

DEVELOPMENT, PRODUCTION = environments()["development"], environments()["production"]
WANTED = WantedTopic("headrace.one.v1", 4, 3, {"cleanup.policy": "delete", "retention.ms": "1000"})


def found(**changes):
    """Make the topic as it is wanted, but for the changes."""
    as_wanted = {"partitions": 4, "replication": 3, "settings": dict(WANTED.settings), "own": {}, "led": True}
    return {WANTED.name: FoundTopic(WANTED.name, **(as_wanted | changes))}


def test_a_topic_comes_with_dead_letters_and_retries_of_each_consumer_and_as_many_partitions():
    """One member then holds a key's source, retry and dead-letter partition."""
    wanted = {each.name: each for each in wanted_topics(DEVELOPMENT)}
    for declared in topics().values():
        for group in declared.consumers:
            names = [declared.dead_letters(group), *(declared.retries(group, delay) for delay in ("5s", "1m", "10m"))]
            assert {wanted[name].partitions for name in names} == {declared.partitions}


def test_production_survives_the_loss_of_a_broker():
    """Three replicas, two of which must have a record before it counts; no replica that lags becomes leader."""
    for each in wanted_topics(PRODUCTION):
        assert each.replication == 3
        assert each.settings["min.insync.replicas"] == "2"
        assert each.settings["unclean.leader.election.enable"] == "false"


def test_an_environment_may_give_a_topic_other_partitions_and_retention():
    """What comes with it follows."""
    large = Environment("large", 3, 2, {QUERY_REQUESTED: {"partitions": 48, "retention_ms": 5}})
    wanted = {each.name: each for each in wanted_topics(large)}
    assert (wanted[QUERY_REQUESTED].partitions, wanted[QUERY_REQUESTED].settings["retention.ms"]) == (48, "5")
    assert wanted[topic(QUERY_REQUESTED).retries("moderate", "5s")].partitions == 48
    assert wanted[AUDIT_RECORDED].partitions == topic(AUDIT_RECORDED).partitions


def test_an_outbox_checkpoint_keeps_its_last_record_for_ever():
    """Forgotten after a week, it would let the relay publish rows again."""
    [checkpoint] = [each for each in wanted_topics(PRODUCTION) if each.name == "headrace.meter.outbox-checkpoint.v1"]
    assert checkpoint.settings["cleanup.policy"] == "compact"
    assert "retention.ms" not in checkpoint.settings


def test_what_waits_for_a_retry_is_never_compacted():
    """Also where its topic is: a version of the price book that waits is not replaced by what waits after it."""
    policies = {
        each.name: each.settings["cleanup.policy"]
        for each in wanted_topics(DEVELOPMENT)
        if each.name.startswith("headrace.prices.published.v1")
    }
    assert policies.pop("headrace.prices.published.v1") == "compact"
    assert len(policies) == 4
    assert set(policies.values()) == {"delete"}


def test_a_service_answers_for_what_it_consumes_and_produces():
    """Others' topics are not its matter."""
    names = {each.name for each in topics_of("meter", DEVELOPMENT)}
    assert {"headrace.usage.recorded.v1", "headrace.usage.recorded.v1.meter.dlq", "headrace.cost.recorded.v1"} <= names
    assert "headrace.answer.completed.v1" in names
    assert "headrace.query.requested.v1" not in names


@pytest.mark.parametrize(
    ("there", "sentence", "remedy"),
    [
        ({}, "headrace.one.v1: missing", "create"),
        (found(partitions=2), "headrace.one.v1: partitions is 2, declared 4", "raise_partitions"),
        (found(partitions=9), "headrace.one.v1: partitions is 9, declared 4", "by_hand"),
        (found(replication=1), "headrace.one.v1: replication is 1, declared 3", "by_hand"),
        (
            found(settings={"cleanup.policy": "compact", "retention.ms": "1000"}),
            "headrace.one.v1: cleanup.policy is compact, declared delete",
            "alter",
        ),
    ],
)
def test_each_deviation_is_named_with_its_remedy(there, sentence, remedy):
    """People read the sentence; `apply` follows the remedy."""
    [deviation] = compare([WANTED], there)
    assert (deviation.sentence(), deviation.remedy) == (sentence, remedy)


def test_more_replicas_and_settings_of_others_are_no_deviation():
    """Only what is declared is compared."""
    assert compare([WANTED], found(replication=5, settings={**WANTED.settings, "compression.type": "zstd"})) == []


def test_topics_of_ours_that_nobody_declares_are_named():
    """Someone else's topics are not looked at."""
    assert undeclared([WANTED], ["headrace.one.v1", "headrace.on.v1", "orders"]) == ["headrace.on.v1"]
