"""What people found out of an attempt: said once, of what is open, and told as booked only where it is."""

from types import SimpleNamespace

import pytest
from headrace.meter.v1.meter_service_pb2 import ListUnknownResponse, PriceResponse, UnknownUsage
from headrace.usage.v1.usage_pb2 import Quantity, UsageRecorded
from headrace_client.costs import CorrectionDiffers, NothingToCorrect, correct
from headrace_errors import InvalidMessage, Refused


def told(number=1, **fields):
    """Make the n-th attempt's usage as it was told: nobody knows how it went."""
    fields = {
        "attempt_id": f"a{number}",
        "attempt": number,
        "status": "unknown",
        "reservation_id": f"a{number}",
    } | fields
    return UsageRecorded(request_id="r1", tenant="acme", model="m", started_at="2026-11-21T12:00:00Z", **fields)


class FakeDesk:
    """A topic that keeps corrections, and a meter that books them unless it is `deaf`."""

    def __init__(self, *open_, deaf=False) -> None:
        self.published, self.open, self._deaf = [], list(open_), deaf

    async def unknown(self, _tenant, *, request_id=""):
        """List what is open, each with a charge of 0.5 and 2 held."""
        found = [one for one in self.open if request_id in ("", one.request_id)]
        return ListUnknownResponse(
            usages=[UnknownUsage(usage_id="u", usage=one, cost="0.5", reserved="2") for one in found], currency="USD"
        )

    async def price(self, _tenant, model, quantities):
        """Have a price for input tokens only."""
        if set(quantities) - {"input_tokens"}:
            raise Refused(f"{model} has no price", reason="model_unpriced")
        return PriceResponse(cost="1")

    async def publish(self, outgoing):
        """Keep an event, and book it."""
        self.published.append(outgoing)
        if not self._deaf:
            self.open = [one for one in self.open if one.attempt_id != outgoing.payload.usage.attempt_id]

    async def read(self, _topics, _held):
        """Yield what was published."""
        for each in self.published:
            yield SimpleNamespace(envelope=each.envelope, payload=each.payload)


async def said(desk, attempt="a1", quantities=None, **fields):
    """Say that an attempt of r1 used 80 input tokens."""
    used = {"input_tokens": 80} if quantities is None else quantities
    fields = {"reason": "the bill", "actor": "alice", "wait_s": 0, "poll_s": 0} | fields
    return await correct(desk, "acme", "r1", attempt, used, **fields)


async def test_the_event_is_the_attempt_as_it_was_told_with_what_it_used():
    """Whole, so that it is booked as a later usage of the attempt: under its model, in its time, on its reservation."""
    desk = FakeDesk(told(quantities=[Quantity(meter="input_tokens", quantity=5)], estimated=True), told(2))
    made = await said(desk)

    ((event, usage),) = [(one, one.payload.usage) for one in desk.published]
    kept = ("request_id", "attempt_id", "model", "started_at", "reservation_id")
    assert [getattr(usage, name) for name in kept] == [getattr(told(), name) for name in kept]
    assert (usage.status, usage.estimated, [(one.meter, one.quantity) for one in usage.quantities]) == (
        "corrected", False, [("input_tokens", 80)],
    )  # fmt: skip
    assert (event.payload.reason, event.payload.corrected_by, event.envelope.auth_id) == ("the bill", "alice", "alice")
    assert (made.booked, made.again, str(made.taken_back), str(made.freed)) == (True, False, "0.5", "2")


@pytest.mark.parametrize("attempt", ["a1", "1"])
async def test_an_attempt_is_corrected_once(attempt):
    """The same quantities are the same correction, whoever says them why; others are refused."""
    desk = FakeDesk(told())
    first = await said(desk, attempt)
    again = await said(desk, attempt, reason="another bill", actor="bob")

    assert (first.again, again.again, again.booked) == (False, True, True)
    assert first.correction_id == again.correction_id
    with pytest.raises(CorrectionDiffers, match="corrected by alice to 80 input_tokens"):
        await said(desk, attempt, {"input_tokens": 81})
    assert len(desk.published) == 1


async def test_of_two_people_at_once_the_one_who_came_second_is_told(monkeypatch):
    """Meter books what came first under the attempt's id: the other must not believe that it was theirs."""
    desk = FakeDesk(told())
    publish = desk.publish

    async def publish_behind_another(outgoing):
        monkeypatch.setattr(desk, "publish", publish)
        await said(desk, quantities={"input_tokens": 81}, actor="bob")
        await publish(outgoing)

    monkeypatch.setattr(desk, "publish", publish_behind_another)
    with pytest.raises(CorrectionDiffers, match="corrected by bob to 81 input_tokens"):
        await said(desk)


async def test_nothing_is_said_of_an_attempt_that_is_not_open():
    """What it used is known, or nobody told of it: either way there is nothing to find out."""
    desk = FakeDesk(told(2))
    for attempt in ("a1", "1", ""):
        with pytest.raises(NothingToCorrect):
            await said(desk, attempt)
    assert desk.published == []


async def test_a_number_that_names_two_attempts_is_refused():
    """An embedding and an answer of one request may have the same."""
    with pytest.raises(InvalidMessage, match="name one by its id"):
        await said(FakeDesk(told(), told(attempt_id="e1")), "1")


async def test_what_has_no_price_is_not_published():
    """It would be kept without a price, and its attempt corrected for good."""
    desk = FakeDesk(told())
    with pytest.raises(Refused, match="no price"):
        await said(desk, quantities={"imput_tokens": 80})
    assert desk.published == []


async def test_a_dry_run_says_what_it_would_do():
    """And publishes nothing."""
    desk = FakeDesk(told())
    made = await said(desk, quantities={}, dry_run=True)

    assert (made.quantities, str(made.freed), made.booked, desk.published) == ({}, "2", False, [])


async def test_a_correction_that_is_not_booked_in_time_is_told():
    """It may have ended as a dead letter; said again, it is not published again."""
    desk = FakeDesk(told(), deaf=True)
    made, again = await said(desk), await said(desk)

    assert (made.booked, again.booked, again.again, len(desk.published)) == (False, False, True, 1)
