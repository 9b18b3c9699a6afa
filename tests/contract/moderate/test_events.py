"""The events that tell moderate's facts: ids and bytes that depend on the fact alone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from headrace import topics
from headrace_messaging import Bus, Codec
from headrace_moderate.adapters.events import outgoing
from headrace_moderate.domain.facts import Admitted, Audited, Completed
from headrace_moderate.domain.requests import Admission, Decision, Outcome, Query, Request

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
OUTCOME = Outcome("answered", answer="A.", timings_ms={f"stage-{n}": float(n) for n in range(20)})
REQUEST = Request(
    "acme",
    "r1",
    "e1",
    "b",
    "q",
    1,
    NOW,
    NOW,
    NOW + timedelta(60),
    decision=Decision(OUTCOME, "d", NOW),
    auth_id="alice",
)
ADMITTED = Admitted(replace(REQUEST, decision=None), Admission(Query("Q?"), ("alice",)))
COMPLETED = Completed(REQUEST, OUTCOME)
AUDITED = Audited("request.refused", "e1", "acme", "r1", "blocked", NOW, facts={"a": "1"})


@pytest.mark.parametrize("fact", [ADMITTED, COMPLETED, AUDITED])
def test_the_same_fact_is_the_same_event(fact):
    """Whenever it is told."""
    assert outgoing(fact).envelope == outgoing(fact).envelope


def test_no_two_facts_share_an_id():
    """Not across tenants, requests, actions or causes."""
    facts = [
        ADMITTED,
        COMPLETED,
        AUDITED,
        Completed(replace(REQUEST, tenant="globex"), OUTCOME),
        Completed(replace(REQUEST, request_id="r2"), OUTCOME),
        Completed(replace(REQUEST, tenant='acme", "r1', request_id=""), OUTCOME),
        replace(AUDITED, action="request.admitted"),
        replace(AUDITED, cause="e2"),
        replace(AUDITED, tenant="globex"),
    ]
    assert len({outgoing(fact).envelope.id for fact in facts}) == len(facts)


def test_an_event_says_whose_it_is_and_until_when():
    """Tenant, request, principal, deadline and what it follows from."""
    event = outgoing(ADMITTED)
    envelope = event.envelope
    assert (event.topic, event.key) == (topics.QUERY_ADMITTED, "r1")
    assert (envelope.tenant, envelope.correlation_id, envelope.causation_id) == ("acme", "r1", "e1")
    assert (envelope.auth_id, envelope.deadline) == ("alice", REQUEST.deadline)
    assert outgoing(AUDITED).key == "acme"


def test_an_outcome_carries_no_deadline():
    """Who reads it late must still read it."""
    assert outgoing(COMPLETED).envelope.deadline is None


def test_an_outcome_has_the_same_bytes_in_every_process():
    """A redelivery after a restart must not look like another outcome: maps are hashed anew in each process."""
    record = asyncio.run(Codec(Bus("nowhere"), None).encode(outgoing(COMPLETED)))
    script = (
        "import asyncio, sys, importlib.util as u;"
        f"s = u.spec_from_file_location('m', {__file__!r}); m = u.module_from_spec(s); s.loader.exec_module(m);"
        "r = asyncio.run(m.Codec(m.Bus('nowhere'), None).encode(m.outgoing(m.COMPLETED)));"
        "sys.stdout.buffer.write(r.value)"
    )
    others = {subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout for _ in range(3)}
    assert others == {record.value}
