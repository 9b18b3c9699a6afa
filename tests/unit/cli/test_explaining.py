"""What the page on a request says of the record behind it."""

from types import SimpleNamespace

import pytest
from headrace.audit.v1.audit_service_pb2 import ChainState, ProveResponse
from headrace.meter.v1.meter_service_pb2 import GetUsageResponse
from headrace.usage.v1.correction_pb2 import UsageCorrected
from headrace.usage.v1.usage_pb2 import UsageRecorded
from headrace_cli.explaining import Explanation


def attempt(status, **fields):
    """Make the usage of the one attempt, as it was told."""
    return UsageRecorded(request_id="r1", attempt_id="a1", attempt=1, operation="generate", status=status, **fields)


@pytest.mark.parametrize(
    ("told", "open_"),
    [
        ([attempt("unknown")], [True]),
        ([attempt("failed", estimated=True)], [True]),
        ([attempt("unknown"), attempt("completed")], [False, False]),
        ([attempt("completed")], [False]),
    ],
)
def test_an_attempt_is_open_until_it_is_known_what_it_used(told, open_):
    """So that people find what only they can tell; once they did, it says who."""
    fields = {"outcome": None, "costs": (), "ledger": GetUsageResponse(), "proof": ProveResponse()}
    usages = [SimpleNamespace(payload=one, envelope=SimpleNamespace(traceparent="")) for one in told]
    page = Explanation(request_id="r1", usages=usages, corrections=(), **fields).as_json()
    assert [one["open"] for one in page["attempts"]] == open_

    said = SimpleNamespace(payload=UsageCorrected(usage=attempt("corrected"), corrected_by="alice"))
    page = Explanation(request_id="r1", usages=usages, corrections=[said], **fields).as_json()
    assert not any(one["open"] for one in page["attempts"])
    assert [one["corrected_by"] for one in page["attempts"]] == [None] * len(told) + ["alice"]


@pytest.mark.parametrize(
    ("chains", "verified"),
    [([True, True], True), ([True, False], False), ([], False)],
    ids=["all whole", "one broken", "no record at all"],
)
def test_a_record_is_verified_only_where_there_is_one(chains, verified):
    """What is gone as a whole verifies nothing."""
    proof = ProveResponse(chains=[ChainState(chain=f"audit-{at}", verified=one) for at, one in enumerate(chains)])
    page = Explanation(
        request_id="r1", outcome=None, usages=(), corrections=(), costs=(), ledger=GetUsageResponse(), proof=proof
    )
    assert page.as_json()["audit"]["verified"] is verified
