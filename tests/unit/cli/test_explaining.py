"""What the page on a request says of the record behind it."""

import pytest
from headrace.audit.v1.audit_service_pb2 import ChainState, ProveResponse
from headrace.meter.v1.meter_service_pb2 import GetUsageResponse
from headrace_cli.explaining import Explanation


@pytest.mark.parametrize(
    ("chains", "verified"),
    [([True, True], True), ([True, False], False), ([], False)],
    ids=["all whole", "one broken", "no record at all"],
)
def test_a_record_is_verified_only_where_there_is_one(chains, verified):
    """What is gone as a whole verifies nothing."""
    proof = ProveResponse(chains=[ChainState(chain=f"audit-{at}", verified=one) for at, one in enumerate(chains)])
    page = Explanation(request_id="r1", outcome=None, usages=(), costs=(), ledger=GetUsageResponse(), proof=proof)
    assert page.as_json()["audit"]["verified"] is verified
