"""What a served call goes through: deadline, tenant, errors by the table, both ways."""

import asyncio
import weakref
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace

import grpc
import headrace_errors
import pytest
from headrace.generate.v1 import generate_service_pb2 as generate_pb
from headrace.generate.v1 import generate_service_pb2_grpc as generate_grpc
from headrace.meter.v1 import meter_service_pb2 as pb
from headrace.meter.v1 import meter_service_pb2_grpc as pb_grpc
from headrace_errors import (
    DeadlineExceeded,
    InvalidMessage,
    Overloaded,
    PeerBug,
    QuotaExceeded,
    Refused,
    Unavailable,
    reaction_of,
)
from headrace_runtime import CallContext, GrpcSettings, Peer, Rpc, current_call, grpc_calls
from headrace_runtime.grpc_client import error_of
from headrace_runtime.grpc_server import CannotBind, RpcServer


def context_of_now() -> CallContext:
    return CallContext("ümlaut & co", ("alice", "a,b"), datetime.now(UTC) + timedelta(minutes=5), "request-1")


class Servicer(pb_grpc.MeterServiceServicer, generate_grpc.GenerateServiceServicer):
    """Raises what it is told to, after so many messages of a stream, or says who asked."""

    error: Exception | None = None
    messages = 0
    pause_s = 0.0

    async def Release(self, _request, _context):  # noqa: N802 - the contract's name
        await asyncio.sleep(self.pause_s)
        if self.error:
            raise self.error
        call = current_call()
        seen.append((call.tenant, call.principals, call.request_id, call.remaining_s()))
        return pb.ReleaseResponse()

    async def Generate(self, _request, _context):  # noqa: N802 - the contract's name
        for _ in range(self.messages):
            yield generate_pb.GenerateResponse()
        if self.error:
            raise self.error


seen: list[tuple] = []


@pytest.fixture
async def served():
    servicer = Servicer()
    added = {
        "headrace.meter.v1.MeterService": pb_grpc.add_MeterServiceServicer_to_server,
        "headrace.generate.v1.GenerateService": generate_grpc.add_GenerateServiceServicer_to_server,
    }
    server = RpcServer(GrpcSettings(), [Rpc(name, partial(add, servicer)) for name, add in added.items()])
    await server.start()
    peer = Peer("both", f"127.0.0.1:{server.port}")
    yield servicer, peer
    await peer.close()
    await server.stop(0)


async def release(peer: Peer, context: CallContext | None = None):
    stub = pb_grpc.MeterServiceStub(peer.channel)
    return await peer.call(stub.Release, pb.ReleaseRequest(), context or context_of_now(), timeout_s=5)


def generate(peer: Peer):
    stub = generate_grpc.GenerateServiceStub(peer.channel)
    return peer.stream(stub.Generate, generate_pb.GenerateRequest(), context_of_now())


async def test_the_context_arrives_as_it_was_sent(served):
    """Tenant, principals with odd characters, request id and deadline travel in the metadata."""
    await release(served[1])
    tenant, principals, request_id, remaining = seen[-1]
    assert (tenant, principals, request_id) == ("ümlaut & co", ("alice", "a,b"), "request-1")
    assert 0 < remaining < 5.1  # grpc rounds a timeout up on its way


@pytest.mark.parametrize(
    "error",
    [
        InvalidMessage("bad", reason="too_large"),
        Refused("no", reason="model_unpriced"),
        QuotaExceeded("spent"),
        Overloaded("full", retry_after_s=0.25),
        Unavailable("gone"),
        DeadlineExceeded("late"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_error_arrives_as_the_class_that_was_raised(served, error):
    """The table translates there and back; the reason and the detail survive."""
    meter, peer = served
    meter.error = error
    with pytest.raises(type(error)) as caught:
        await release(peer)
    assert type(caught.value) is type(error)
    assert caught.value.reason == error.reason
    if isinstance(error, Overloaded):
        assert caught.value.retry_after_s == 0.25


@pytest.mark.parametrize("messages", [0, 1])
async def test_an_error_of_a_stream_arrives_as_the_class_that_was_raised(served, messages):
    """Before its first message, and after some: reason, detail and hint come with the status."""
    servicer, peer = served
    servicer.error, servicer.messages = Overloaded("full", retry_after_s=0.25), messages
    stream = generate(peer)
    for _ in range(messages):
        await anext(stream)
    with pytest.raises(Overloaded, match="full") as caught:
        await anext(stream)
    assert caught.value.retry_after_s == 0.25


@pytest.mark.usefixtures("no_garbage_collector")
@pytest.mark.parametrize("ask", ["release", "generate"])
async def test_nothing_of_a_refused_call_is_left_to_the_garbage_collector(served, ask):
    """Under load most calls are refused, and each full collection stops the event loop."""
    servicer, peer = served
    servicer.error = Overloaded("full", retry_after_s=0.25)
    raised = weakref.ref(servicer.error)
    with pytest.raises(Overloaded):
        await (release(peer) if ask == "release" else anext(generate(peer)))
    servicer.error = None
    async with asyncio.timeout(5):  # the server may end the call after its caller heard of it
        while raised() is not None:  # noqa: ASYNC110 - grpc ends it
            await asyncio.sleep(0.01)


async def test_a_bug_reveals_its_class_only(served):
    """The text of an unexpected exception stays in the log. It is a bug for the caller too: asking again is no help."""
    meter, peer = served
    meter.error = ValueError("secret text")
    with pytest.raises(PeerBug) as caught:
        await release(peer)
    assert "secret" not in str(caught.value)
    assert reaction_of(caught.value).kafka == "bug"


async def test_a_call_that_the_peer_does_not_have_is_a_bug(served):
    """An older peer will not learn it by being asked again."""
    _meter, peer = served
    stub = pb_grpc.MeterServiceStub(peer.channel)
    with pytest.raises(PeerBug):
        await peer.call(stub.Price, pb.PriceRequest(), context_of_now(), timeout_s=5)


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE])
def test_what_the_transport_says_of_a_broken_connection_is_an_outage(code):
    """A peer that was killed in the middle of an answer is asked again; only our own INTERNAL is marked as a bug."""
    nothing = grpc.aio.Metadata()
    assert isinstance(error_of(grpc.aio.AioRpcError(code, nothing, nothing, "RST_STREAM"), "meter"), Unavailable)


@pytest.mark.parametrize(("timeout_s", "status"), [(0.2, "DEADLINE_EXCEEDED"), (20.0, "CANCELLED")])
async def test_a_call_that_was_cut_short_is_not_counted_as_answered(served, monkeypatch, timeout_s, status):
    """Its time was up, or its caller left: an overloaded service must not look as if all went well."""
    servicer, peer = served
    servicer.pause_s = 10.0
    recorded = asyncio.Queue()
    measured = SimpleNamespace(record=lambda _elapsed, attributes: recorded.put_nowait(attributes["status"]))
    monkeypatch.setattr(grpc_calls, "_duration", measured)
    stub = pb_grpc.MeterServiceStub(peer.channel)
    call = asyncio.create_task(peer.call(stub.Release, pb.ReleaseRequest(), context_of_now(), timeout_s=timeout_s))
    await asyncio.sleep(0.1)
    if status == "CANCELLED":
        call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert await asyncio.wait_for(recorded.get(), 5) == status


async def test_a_call_without_a_deadline_is_refused(served):
    """Nobody may wait for ever."""
    stub = pb_grpc.MeterServiceStub(served[1].channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Release(pb.ReleaseRequest(), metadata=(("headrace-tenant", "a"), ("headrace-principals", "b")))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "deadline" in caught.value.details()


async def test_a_call_without_a_tenant_is_refused(served):
    """Fail closed."""
    stub = pb_grpc.MeterServiceStub(served[1].channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Release(pb.ReleaseRequest(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("named", ["headrace-tenant", "headrace-principals", "headrace-request-id"])
async def test_a_name_that_fits_no_header_is_refused(served, named):
    """It would be in every event of the call, and nobody could read them."""
    stub = pb_grpc.MeterServiceStub(served[1].channel)
    metadata = {"headrace-tenant": "a", "headrace-principals": "b"} | {named: "%E5%95%8F" * 100}
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Release(pb.ReleaseRequest(), timeout=5, metadata=tuple(metadata.items()))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert named in caught.value.details()


async def test_an_address_that_is_taken_is_told_as_such(served):
    """The supervisor chooses another one then; starting again on this one would be a crash loop."""
    _meter, peer = served
    with pytest.raises(CannotBind):
        RpcServer(GrpcSettings(listen=peer.address), [])


async def test_a_call_past_its_deadline_is_not_made(served):
    """No work begins that nobody waits for."""
    late = CallContext("a", ("b",), datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(headrace_errors.DeadlineExceeded):
        await release(served[1], late)
