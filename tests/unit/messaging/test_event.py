"""Events that follow from events."""

from datetime import UTC, datetime

from headrace.query.v1.query_pb2 import QueryRequested
from headrace.topics import QUERY_ADMITTED, QUERY_REQUESTED, topic
from headrace_messaging import Event, event_id, follow, new_envelope
from hypothesis import given
from hypothesis import strategies as st

DEADLINE = datetime(2026, 1, 1, tzinfo=UTC)


def parent(**attributes) -> Event:
    """Make a delivered question."""
    envelope = new_envelope(QUERY_REQUESTED, source="/test", id="q1", **attributes)
    return Event(envelope, QueryRequested(), QUERY_REQUESTED, "key", 0, 0, DEADLINE)


def test_a_redelivery_makes_the_same_ids():
    """The id depends on the parent and its tenant, the stage, its version and the index, and on nothing else."""
    payload = topic(QUERY_ADMITTED).message()
    first, again = (follow(parent(tenant="acme"), QUERY_ADMITTED, payload, stage="moderate") for _ in range(2))
    assert first.envelope.id == again.envelope.id == event_id("acme/q1", "moderate")


def test_two_tenants_that_chose_one_id_share_nothing():
    """Producers make the ids of first events; what follows from them is told apart all the same."""
    payload = topic(QUERY_ADMITTED).message()
    ids = {follow(parent(tenant=name), QUERY_ADMITTED, payload, stage="m").envelope.id for name in ("acme", "zeta")}
    assert len(ids) == 2


@given(
    st.sets(st.tuples(st.uuids().map(str), st.sampled_from("ab"), st.integers(1, 3), st.integers(0, 3)), max_size=20)
)
def test_different_steps_make_different_ids(steps):
    """No two (parent, stage, version, index) share an id."""
    assert len({event_id(*step) for step in steps}) == len(steps)


def test_a_following_event_belongs_to_the_same_request():
    """Tenant, principal, deadline, priority, conversation and key are carried on; the cause is the parent."""
    known = parent(
        tenant="acme",
        auth_id="ann",
        auth_type="user",
        deadline=DEADLINE,
        priority=3,
        conversation_id="c1",
        idempotency_key="i",
    )
    made = follow(known, QUERY_ADMITTED, topic(QUERY_ADMITTED).message(), stage="moderate").envelope
    assert (made.tenant, made.auth_id, made.auth_type) == ("acme", "ann", "user")
    assert (made.deadline, made.priority, made.conversation_id) == (DEADLINE, 3, "c1")
    assert (made.correlation_id, made.causation_id) == ("q1", "q1")
    assert (made.idempotency_key, made.traceparent, made.attempt) == ("", "", 1)


def test_the_request_id_survives_further_steps():
    """The correlation id is the first one given, not the last parent's."""
    made = follow(parent(correlation_id="r1"), QUERY_ADMITTED, topic(QUERY_ADMITTED).message(), stage="s", key="k2")
    assert made.envelope.correlation_id == "r1"
    assert made.key == "k2"
