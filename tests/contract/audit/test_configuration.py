"""What is declared to the platform is recorded where it is not what was recorded last, by hash."""

import json
from datetime import UTC, datetime

import pytest
from headrace.audit.v1.events_pb2 import AuditSubmitted
from headrace_audit.handlers import record_configuration
from headrace_audit.translation import decision_of
from headrace_errors import InvalidMessage

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
FIRST = {"tenants": "aa" * 32}


async def declare(audit, **changes):
    """Start with a configuration that differs so from the first."""
    await record_configuration(FIRST | changes, record=audit.record, seal=audit.seal, clock=lambda: NOON)


async def recorded(audit):
    """Return action, tenant and facts of every record of no request."""
    links = [*await audit.record.links_of("", "", links_max=99), *await audit.record.links_of("acme", "", links_max=99)]
    records = [json.loads(link.record_json) for link in sorted(links, key=lambda link: link.sequence)]
    return [(one["activity_name"], one["metadata"].get("tenant_uid", ""), one["unmapped"]["facts"]) for one in records]


async def test_the_first_configuration_is_recorded_once(audit):
    """Whatever was declared from the beginning has a hash in the chain; a restart adds nothing."""
    await declare(audit)
    await declare(audit)

    assert await recorded(audit) == [("configuration.changed", "", {"part": "tenants", "sha256_before": ""})]


async def test_another_file_is_recorded_with_both_hashes(audit):
    """Back again is a change like any other. Budgets are none of audit's business: they are told where they hold."""
    await declare(audit)
    await declare(audit, tenants="bb" * 32)
    await declare(audit)

    told = [
        facts["sha256_before"][:2] for action, _, facts in await recorded(audit) if action == "configuration.changed"
    ]
    assert told == ["", "aa", "bb"]
    assert (await audit.verified(audit.seal.key.verifier)).verified


def declaration(submitted_event, number, service, part, sha256, **facts):
    """Make the event by which a service tells at its n-th start what it was started with."""
    event = submitted_event(number, tenant="", request="")
    event.payload.MergeFrom(
        AuditSubmitted(action="configuration.declared", service=service, disposition="observed", content_sha256=sha256)
    )
    event.payload.facts.clear()
    event.payload.facts.update({"part": part} | facts)
    return event


async def test_what_services_declare_is_recorded_once_per_change(audit, submitted_event):
    """However often they start, and in how many replicas; back again is a change like any other."""
    for start, rails in enumerate(["aa", "aa", "bb", "bb", "aa"]):
        starts = [("meter", "prices", "aa"), ("moderate", "rails", rails), ("moderate", "rails", rails)]
        events = [
            declaration(submitted_event, 10 * start + number, service, part, sha * 32, version="3")
            for number, (service, part, sha) in enumerate(starts)
        ]
        await audit.deliver(events)
        await declare(audit)  # audit's own start changes nothing of what the others told

    told = [(action, facts["part"], facts["sha256_before"][:2]) for action, _, facts in await recorded(audit)]
    assert sorted(told) == sorted(
        [
            ("configuration.changed", "tenants", ""),
            ("configuration.changed", "meter/prices", ""),
            ("configuration.changed", "moderate/rails", ""),
            ("configuration.changed", "moderate/rails", "aa"),
            ("configuration.changed", "moderate/rails", "bb"),
        ]
    )
    assert (await audit.verified(audit.seal.key.verifier)).verified


async def test_declarations_stand_between_other_decisions_in_order(audit, submitted_event):
    """What is known already leaves no gap in the chain, and a redelivery of a change is none."""
    change = declaration(submitted_event, 1, "generate", "models", "cc" * 32)
    same = declaration(submitted_event, 3, "generate", "models", "cc" * 32)
    links = await audit.deliver([submitted_event(0), change, submitted_event(2), same, submitted_event(4)])

    assert [link.record_id for link in links] == ["event-0", "event-1", "event-2", "event-4"]
    assert await audit.deliver([change, same]) == ()
    assert (await audit.verified(audit.seal.key.verifier)).verified


@pytest.mark.parametrize(("part", "sha256"), [("", "cc" * 32), ("models", ""), ("models", "CC" * 32), ("models", "x")])
def test_a_declaration_names_its_part_and_a_hash(submitted_event, part, sha256):
    """Else it is a dead letter."""
    with pytest.raises(InvalidMessage, match="needs the fact"):
        decision_of(declaration(submitted_event, 1, "generate", part, sha256))
