"""The texts of a request that has its outcome can be erased, by who asked it; how it ended stays, and it is audited."""

from datetime import UTC, datetime, timedelta

import pytest
from headrace_errors import Refused
from headrace_messaging import Bus, Codec
from headrace_messaging.outbox import Outbox, outbox_table
from headrace_moderate.adapters.events import outgoing
from headrace_moderate.adapters.memory import MemoryRequests
from headrace_moderate.adapters.sql import SqlRequests
from headrace_moderate.adapters.tables import FEEDBACK, METADATA, REQUESTS
from headrace_moderate.domain.requests import Citation, Decision, Outcome, Request
from headrace_moderate.handlers.erase import erase_request
from headrace_moderate.ports import Feedback
from sqlalchemy import MetaData, select

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
OUTCOME = Outcome("answered", answer="a secret", citations=(Citation("a.txt", 1, 0, 8, "a secret"),), model="small")

DECISION = Decision(OUTCOME, "d1", NOW)


def request(decision: Decision | None, **changes) -> Request:
    """Return a request of alice's."""
    fields = {
        "tenant": "acme", "request_id": "r1", "event_id": "e1", "auth_id": "alice", "question_bytes": 3,
        "body_sha256": "b" * 64, "question_sha256": "c" * 64, "published_at": NOW, "registered_at": NOW,
        "deadline": NOW + timedelta(seconds=60), "decision": decision,
    }  # fmt: skip
    return Request(**fields | changes)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def requests(request, databases):
    """Return a table of requests, and for SQL its database."""
    if request.param == "memory":
        return MemoryRequests()
    metadata = MetaData()
    for declared in METADATA.sorted_tables:
        declared.to_metadata(metadata)
    outbox = Outbox(outbox_table(metadata), Codec(Bus("nowhere"), None))
    return SqlRequests(await databases.open(request.param, metadata), outbox)


async def add(requests, decision=DECISION, **changes):
    """Put a request with feedback into the table."""
    async with requests.transaction_on_all() as transaction:
        await transaction.add(request(None, **changes))
        if decision:
            await transaction.decide(request(decision, **changes))
        await transaction.add_feedback(Feedback("f1", "acme", "r1", "down", "a secret", "it is", NOW))


async def erase(requests, *principals):
    """Erase it as somebody."""
    await erase_request("acme", "r1", principals or ("alice", "everyone"), requests=requests, clock=lambda: NOW)


async def stored(requests):
    """Return the request as the table has it now."""
    async with requests.transaction_on_all() as transaction:
        return await transaction.find("acme", "r1")


async def test_an_erased_request_keeps_how_it_ended_and_no_text(requests):
    """Answer and quotes are gone, outcome, model and hashes are not; erased again it is the same."""
    await add(requests)
    for _ in range(2):
        await erase(requests)

    found = await stored(requests)
    assert (found.decision.outcome.kind, found.decision.outcome.model) == ("answered", "small")
    assert (found.decision.outcome.answer, found.decision.outcome.citations) == ("", ())
    assert found.question_sha256 == "c" * 64
    assert "a secret" not in await everything(requests)


async def everything(requests):
    """Return all that the tables hold."""
    if isinstance(requests, MemoryRequests):
        return str((requests.requests, requests.feedback))
    async with requests._database.read() as connection:
        tables = [(await connection.execute(select(table))).all() for table in (REQUESTS, FEEDBACK)]
    return str(tables)


async def test_an_erasure_is_audited_once_under_who_did_it():
    """Its record refers to the question by its hash."""
    requests = MemoryRequests()
    await add(requests)
    for _ in range(2):
        await erase(requests, "bob", "alice")

    events = [outgoing(fact) for fact in requests.published]
    assert {(one.payload.action, one.payload.principal) for one in events} == {("request.erased", "bob")}
    assert len({one.envelope.id for one in events}) == 1
    assert events[0].payload.content_sha256 == "c" * 64
    assert events[0].payload.facts["dataref"] == "moderate:requests/r1"


async def test_an_open_request_keeps_its_texts(requests):
    """It needs them to be answered."""
    await add(requests, decision=None)
    with pytest.raises(Refused) as refused:
        await erase(requests)
    assert refused.value.reason == "request_open"


async def test_who_did_not_ask_it_is_told_that_there_is_none(requests):
    """As of a request that never was; one that nobody asked by name is everybody's."""
    await add(requests)
    for principals in (("bob", "everyone"), ("everyone",)):
        with pytest.raises(Refused) as refused:
            await erase(requests, *principals)
        assert refused.value.reason == "unknown_request"
    assert (await stored(requests)).decision.outcome == OUTCOME


async def test_a_request_without_a_name_is_erased_by_anybody_of_its_tenant(requests):
    """An open tenant's askers need not name themselves."""
    await add(requests, auth_id="")
    await erase(requests, "everyone")
    assert (await stored(requests)).decision.outcome.answer == ""
