"""`prices publish` and `costs credit`: said once, whatever is said again, and nothing wrong is published."""

from decimal import Decimal
from types import SimpleNamespace

import pytest
from headrace import topics
from headrace.meter.v1.meter_service_pb2 import GetUsageResponse
from headrace_cli.pricing.publishing import publish_book
from headrace_client.costs import CreditDiffers, grant

BOOK = """tenants: {{secret: "nobody's business"}}
prices:
  version: "{version}"
  rates:
    - {{model: m, from: 2026-01-01, per_million: {{input_tokens: "{price}"}}}}
"""


class FakeDesk:
    """Topics that keep what is published, and a meter that takes it unless it is `deaf`."""

    tenants = ("acme",)

    def __init__(self, *, deaf=False) -> None:
        self.published, self.deaf, self.version, self.credits = [], deaf, "file", Decimal(0)

    async def publish(self, outgoing):
        """Keep an event."""
        self.published.append(outgoing)
        if self.deaf:
            return
        if outgoing.topic == topics.PRICES_PUBLISHED:
            self.version = outgoing.payload.version
        else:
            self.credits = Decimal(outgoing.payload.amount)

    async def read(self, names, _held):
        """Yield what was published on a topic."""
        for each in self.published:
            if each.topic in names:
                yield SimpleNamespace(envelope=each.envelope, payload=each.payload)

    async def usage(self, _tenant, **_question):
        """Say what holds and what was given."""
        return GetUsageResponse(currency="USD", price_version=self.version, credits=str(self.credits))


@pytest.fixture
def write(tmp_path):
    """Return the writer of a book."""

    def writer(version="2", price="1"):
        path = tmp_path / "book.yaml"
        path.write_text(BOOK.format(version=version, price=price))
        return path

    return writer


async def test_a_book_is_published_once_and_in_force_then(write):
    """Its section alone: what else is in the file does not leave it."""
    desk = FakeDesk()
    first = await publish_book(desk, write(), actor="alice")
    again = await publish_book(desk, write(), actor="bob")

    assert (first.again, first.in_force, again.again) == (False, "2", True)
    (event,) = desk.published
    assert (event.key, event.payload.version, event.payload.published_by) == ("2", "2", "alice")
    assert "secret" not in event.payload.book


@pytest.mark.parametrize(
    ("price", "said"), [("-1", r"book.yaml:5: prices.rates\[0\]"), ("3", "published with other prices")]
)
async def test_nothing_wrong_is_published(write, price, said):
    """A mistake is named by file, line and key; a version never means two books."""
    desk = FakeDesk()
    await publish_book(desk, write(), actor="alice")

    with pytest.raises(ValueError, match=said):
        await publish_book(desk, write(price=price), actor="alice")
    assert len(desk.published) == 1


async def test_a_version_that_holds_from_a_file_is_not_published(write):
    """Meter would say that it holds, whatever became of what was published."""
    desk = FakeDesk()

    with pytest.raises(ValueError, match="version file is in force from meter's own file"):
        await publish_book(desk, write(version="file"), actor="alice")
    assert desk.published == []


async def test_a_book_that_meter_does_not_take_is_told(write):
    """What it rates by is told instead."""
    made = await publish_book(FakeDesk(deaf=True), write(), actor="alice", wait_s=0, poll_s=0)

    assert (made.version, made.in_force) == ("2", "file")
    assert "refused it" in made.why_not


async def test_an_older_version_does_not_come_back_by_being_published_again(write):
    """Nor where the topic has forgotten it: meter keeps the newest, and both say how to go back."""
    desk = FakeDesk()
    for version in ("2", "3"):
        await publish_book(desk, write(version), actor="alice")
    again = await publish_book(desk, write("2"), actor="alice", wait_s=0, poll_s=0)
    desk.published.clear()
    desk.deaf = True  # to what it has
    forgotten = await publish_book(desk, write("2"), actor="alice", wait_s=0, poll_s=0)

    assert (again.in_force, forgotten.in_force) == ("3", "3")
    assert all("to go back, publish it under a new version" in one.why_not for one in (again, forgotten))


async def test_the_same_words_are_the_same_credit():
    """However the amount is written; another id is another credit."""
    desk = FakeDesk()
    first = await grant(desk, "acme", Decimal("2.50"), reason="outage", actor="alice")
    again = await grant(desk, "acme", Decimal("2.5"), reason="outage", actor="bob")
    other = await grant(desk, "acme", Decimal("2.5"), reason="outage", actor="bob", credit_id="c2")

    assert (first.again, first.booked, again.again) == (False, True, True)
    assert first.credit_id == again.credit_id != other.credit_id == "c2"
    assert [event.envelope.id for event in desk.published] == [first.credit_id, "c2"]


async def test_an_id_with_other_words_is_refused():
    """It would be neither the one nor the other."""
    desk = FakeDesk()
    await grant(desk, "acme", Decimal(1), reason="outage", actor="alice", credit_id="c")

    with pytest.raises(CreditDiffers, match="1 USD, outage"):
        await grant(desk, "acme", Decimal(2), reason="outage", actor="alice", credit_id="c")


async def test_a_credit_that_is_not_booked_in_time_is_told():
    """It is on the topic all the same."""
    made = await grant(FakeDesk(deaf=True), "acme", Decimal(1), reason="r", actor="a", wait_s=0, poll_s=0)

    assert not made.booked
