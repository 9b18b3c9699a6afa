"""Facts that are booked together: in one call, in order, each in its own trace; and only what is to blame ends."""

from itertools import pairwise

import pytest
from headrace.cost.v1.cost_pb2 import CostRecorded
from headrace.topics import COST_RECORDED, QUERY_REQUESTED, USAGE_RECORDED
from headrace.usage.v1.usage_pb2 import UsageRecorded
from headrace_errors import InvalidMessage, Unavailable
from headrace_messaging import Bus, Codec, SubscriberOptions, Subscription, follow
from headrace_messaging.backoff import Abandoned, Backoff
from headrace_messaging.consuming.partitions import Progress
from headrace_messaging.consuming.processing import Processor
from headrace_messaging.outbox import Outbox, outbox_table
from headrace_messaging.retry.ladder import Ladder
from headrace_messaging.tracing import continuing
from headrace_telemetry import tracing
from messaging_fakes import FakePublisher, MemoryBlobs, received
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import MetaData

OPTIONS = SubscriberOptions(backoff=Backoff(min_ms=0, max_ms=0), wait_max_ms=50, bugs_max=2)
DLQ = f"{USAGE_RECORDED}.meter.dlq"


class Ledger:
    """Books together what it is given, unless told otherwise; `calls` are the models of the usages of each call.

    Its partition is lost after so many calls.
    """

    def __init__(self, *errors, refused=(), lost_after=256):
        self.errors, self.refused, self._lost_after = list(errors), refused, lost_after
        self.calls, self.events = [], []
        self.publisher = FakePublisher()
        subscription = Subscription(USAGE_RECORDED, self.book_one, self.end, past_deadline="handle", together=self.book)
        self.processor = Processor(
            [subscription],
            group="meter",
            publisher=self.publisher,
            codec=Codec(Bus("unused", "g1", embedded=True), MemoryBlobs()),
            options=OPTIONS,
            code_version="1",
            ladder=Ladder([USAGE_RECORDED], group="meter", options=None),
        )
        self.progress = Progress((USAGE_RECORDED, 0), 0, 0, committed=0, dense=True)

    @property
    def booked(self):
        return [model for call in self.calls for model in call]

    async def book(self, events):
        """Book all of them or none."""
        if self.errors:
            raise self.errors.pop(0)
        for event in events:
            if event.payload.model in self.refused:
                raise InvalidMessage("no such model", reason="model_unknown")
        self.calls.append([event.payload.model for event in events])
        self.events += events

    async def book_one(self, event):
        await self.book([event])
        self.progress.current = len(self.calls) < self._lost_after
        return ()

    async def end(self, _event, _ending):
        return ()

    async def take(self, *records):
        await self.processor.process_together(records, self.progress)


def usage(number, **headers):
    """Make the record of a usage whose model is its number."""
    texts = {
        "content-type": "application/protobuf",
        "ce_specversion": "1.0",
        "ce_id": f"u{number}",
        "ce_source": "/test",
        "ce_type": USAGE_RECORDED,
        "ce_time": "2026-01-02T00:00:00Z",
        "ce_tenant": "acme",
    } | headers
    encoded = tuple((name, text.encode()) for name, text in texts.items())
    return received(USAGE_RECORDED, UsageRecorded(model=str(number)).SerializeToString(), encoded, offset=number)


async def test_what_has_come_up_is_booked_in_one_call_and_in_order():
    """One transaction for many."""
    ledger = Ledger()
    await ledger.take(*map(usage, range(5)))
    assert ledger.calls == [["0", "1", "2", "3", "4"]]


async def test_one_by_itself_goes_the_usual_way():
    """There is nobody to wait for."""
    ledger = Ledger()
    await ledger.take(usage(0))
    assert ledger.calls == [["0"]]


async def test_a_broken_message_takes_no_other_with_it():
    """It alone is dead-lettered; the others are booked one by one, in order."""
    ledger = Ledger()
    broken = received(USAGE_RECORDED, b"\xff", usage(1).headers, offset=1)
    await ledger.take(usage(0), broken, usage(2))
    assert ledger.booked == ["0", "2"]
    assert [record.topic for record in ledger.publisher.sent] == [DLQ]


async def test_what_the_handler_refuses_takes_no_other_with_it():
    """Nor does a message that is readable and wrong."""
    ledger = Ledger(refused={"1"})
    await ledger.take(*map(usage, range(3)))
    assert ledger.booked == ["0", "2"]
    assert [record.topic for record in ledger.publisher.sent] == [DLQ]


async def test_a_bug_of_many_is_no_bug_of_each():
    """A call that fails as a whole is repeated one by one before anything is given up."""
    ledger = Ledger(KeyError("a bug"))
    await ledger.take(*map(usage, range(3)))
    assert ledger.calls == [["0"], ["1"], ["2"]]
    assert not ledger.publisher.sent


async def test_an_outage_is_waited_out_together():
    """Nothing is taken apart for a database that restarts."""
    ledger = Ledger(*[Unavailable("away")] * 7)
    await ledger.take(*map(usage, range(3)))
    assert ledger.calls == [["0", "1", "2"]]


async def test_a_partition_that_is_lost_meanwhile_is_let_go():
    """Whoever has it now books them."""
    ledger = Ledger(*[Unavailable("away")] * 3)
    ledger.progress.current = False
    with pytest.raises(Abandoned):
        await ledger.take(*map(usage, range(3)))
    assert not ledger.calls


async def test_what_is_parted_is_let_go_of_when_its_partition_is_lost():
    """A drain waits for the one under way, not for all that came up with it."""
    ledger = Ledger(KeyError("a bug"), lost_after=1)
    with pytest.raises(Abandoned):
        await ledger.take(*map(usage, range(3)))
    assert ledger.calls == [["0"]]


async def test_each_keeps_its_own_trace_through_what_follows(monkeypatch):
    """Send, process, send: whoever looks for one request finds what was booked for it, and nothing of the others."""
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(tracing, "_TRACER", provider.get_tracer("test"))
    outbox = Outbox(outbox_table(MetaData()), Codec(Bus("unused", "g1", embedded=True), None))
    ledger, contexts = Ledger(), {}
    for name in ("r0", "r1"):
        with tracing.span(name):
            contexts[name] = tracing.inject_context()["traceparent"]
    await ledger.take(usage(0, ce_traceparent=contexts["r0"]), usage(1, ce_traceparent=contexts["r1"]))
    assert ledger.calls == [["0", "1"]]
    for event in ledger.events:
        with continuing(event.envelope):
            await outbox.encode(follow(event, COST_RECORDED, CostRecorded(), stage="meter"))

    finished = spans.get_finished_spans()
    for request in ("r0", "r1"):
        trace_id = next(one for one in finished if one.name == request).context.trace_id
        chain = [one for one in finished if one.context.trace_id == trace_id]
        assert [one.name for one in chain] == [request, f"process {USAGE_RECORDED}", f"send {COST_RECORDED}"]
        for parent, child in pairwise(chain):
            assert child.parent.span_id == parent.context.span_id
        assert chain[1].attributes["messaging.batch.message_count"] == 2


async def test_requests_are_not_booked_together():
    """One that has to be tried again later would hold the others up."""
    with pytest.raises(ValueError, match="no inbox topic"):
        Subscription(QUERY_REQUESTED, None, None, together=Ledger().book)
