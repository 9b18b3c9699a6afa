"""What a call may ask: its names become headers and keys."""

from datetime import UTC, datetime

import pytest
from headrace.generate.v1 import generate_service_pb2 as pb
from headrace_errors import InvalidMessage
from headrace_generate.entrypoints.grpc import query_of
from headrace_runtime import CallContext
from headrace_runtime.context import set_current_call

CALL = CallContext("acme", ("alice",), datetime(2026, 11, 21, tzinfo=UTC))


@pytest.mark.parametrize("name", ["request_id", "feature"])
@pytest.mark.parametrize("text", ["問" * 86, "x" * 256, "a\0b"])
async def test_a_name_that_fits_no_header_is_refused_before_a_model_runs(name, text):
    """Its usage could not be published: the attempt would have no end."""
    set_current_call(CALL)
    request = pb.GenerateRequest(**{"request_id": "r1", "question": "Why?", name: text})
    with pytest.raises(InvalidMessage, match=name):
        query_of(request)


async def test_a_name_in_any_script_goes_as_far_as_a_header_does():
    """255 bytes of UTF-8."""
    set_current_call(CALL)
    assert query_of(pb.GenerateRequest(request_id="問" * 85, question="Why?")).request_id == "問" * 85


@pytest.mark.parametrize("form", ["json_schema", "regex"])
async def test_a_form_is_bounded(form):
    """64 KiB: past it nothing is compiled, reserved or asked."""
    set_current_call(CALL)
    asked = {"request_id": "r1", "question": "Why?"}
    assert query_of(pb.GenerateRequest(**asked, **{form: "x" * 65_536})).constraint.text == "x" * 65_536
    with pytest.raises(InvalidMessage, match="constraint"):
        query_of(pb.GenerateRequest(**asked, **{form: "x" * 65_537}))


async def test_an_empty_form_is_a_mistake():
    """It would be no form; leave the field out for that."""
    set_current_call(CALL)
    with pytest.raises(InvalidMessage, match="constraint"):
        query_of(pb.GenerateRequest(request_id="r1", question="Why?", regex=""))
