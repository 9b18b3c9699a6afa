"""What is declared to the platform is recorded where it is not what was recorded last: by hash, budgets by amount."""

import json
from datetime import UTC, datetime

import pytest
from headrace.audit.v1.events_pb2 import AuditSubmitted
from headrace_audit.handlers import record_configuration
from headrace_audit.translation import decision_of
from headrace_errors import InvalidMessage

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
FIRST = {"tenants": "aa" * 32, "budget/acme": "100.00 USD", "budget/globex": "none"}


async def declare(audit, **changes):
    """Start with a configuration that differs so from the first."""
    declared = {part: value for part, value in (FIRST | changes).items() if value is not None}
    await record_configuration(declared, record=audit.record, seal=audit.seal, clock=lambda: NOON)


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


async def test_a_budget_that_changes_is_recorded_with_both_amounts(audit):
    """And with the hash of the file in which it stands; back again is a change like any other."""
    await declare(audit)
    await declare(audit, tenants="bb" * 32, **{"budget/acme": "50.00 USD"})
    await declare(audit)

    told = await recorded(audit)
    assert [action for action, *_ in told] == ["configuration.changed"] + 2 * [
        "budget.changed",
        "configuration.changed",
    ]
    assert told[1] == ("budget.changed", "acme", {"monthly": "50.00 USD", "monthly_before": "100.00 USD"})
    assert told[3] == ("budget.changed", "acme", {"monthly": "100.00 USD", "monthly_before": "50.00 USD"})
    assert (await audit.verified(audit.seal.key.verifier)).verified


async def test_a_budget_is_known_however_long_its_name(audit):
    """Values have up to a hundred characters each, and the name has all of them."""
    name = "day " + " ".join(f'{dimension}="{"x y" * 66}"' for dimension in ("feature", "model", "principal"))
    await declare(audit)
    for _ in range(2):
        await declare(audit, **{f"budget/acme/for {name}": "5.00 USD"})

    told = [facts for action, _, facts in await recorded(audit) if action == "budget.changed"]
    assert told == [{"budget": name, "amount": "5.00 USD", "amount_before": "none"}]


async def test_a_budget_by_scope_is_told_by_its_name_whether_it_comes_changes_or_goes(audit):
    """Of a tenant that is known; with a new tenant it comes in the file whose hash is recorded."""
    daily = "budget/acme/for day feature=chat"
    await declare(audit)
    for part, value in ((daily, "5.00 USD"), (daily, "6.00 USD soft"), (daily, None)):
        await declare(audit, **{part: value})
    await declare(audit, **{"budget/new": "none", "budget/new/for day": "1.00 USD"})

    before, told = "none", (await recorded(audit))[1:]
    for (action, tenant, facts), amount in zip(told, ("5.00 USD", "6.00 USD soft", "none"), strict=True):
        assert (action, tenant) == ("budget.changed", "acme")
        assert facts == {"budget": "day feature=chat", "amount": amount, "amount_before": before}
        before = amount


async def test_a_tenant_that_is_declared_no_more_has_no_budget(audit):
    """It is told as such, once."""
    await declare(audit)
    for _ in range(2):
        await declare(audit, tenants="bb" * 32, **{"budget/acme": None})

    assert (await recorded(audit))[1] == (
        "budget.changed",
        "acme",
        {"monthly": "none", "monthly_before": "100.00 USD"},
    )
    assert len(await recorded(audit)) == 3


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
