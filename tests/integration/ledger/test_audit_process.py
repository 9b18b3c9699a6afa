"""The audit service as a process: chains go on, whatever is killed and whichever bus comes."""

import asyncio
import json
import time

from headrace import topics
from headrace.audit.v1 import audit_service_pb2 as pb
from headrace.audit.v1.events_pb2 import AuditSubmitted
from headrace_audit.adapters.anchors import read_anchors
from headrace_audit.adapters.key_files import KeyFiles
from headrace_audit.verify import read_links, verify_database
from headrace_testkit import embedded_bus


def decision(number: int) -> AuditSubmitted:
    """Make the n-th decision, of request `r<n // 2>`."""
    return AuditSubmitted(
        action="request.admitted",
        service="moderate",
        tenant="acme",
        principal="alice",
        request_id=f"r{number // 2}",
        disposition="allowed",
        decided_at="2026-11-21T09:00:00Z",
    )


async def test_decisions_are_chained_once_under_kills(outside, service, tmp_path):
    """200 decisions on many keys, one in ten twice, four kill -9: 200 links, every chain whole, the topic a copy."""
    with service("audit") as audit:
        for number in range(200):
            for _ in range(2 if number % 10 == 0 else 1):
                await outside.publish(topics.AUDIT_SUBMITTED, decision(number), f"d{number}", key=f"k{number % 16}")
            if number % 50 == 49:
                await asyncio.to_thread(audit.kill)
                await asyncio.to_thread(audit.start)
        copies = await outside.until(200, topics.AUDIT_RECORDED)
        async with outside.client(audit=audit.port) as client:
            proof = await client.prove("r3")

    report = verify_database(tmp_path / "audit" / "state.db")
    assert report.verified
    links = [one for one in read_links(tmp_path / "audit" / "state.db") if one.tenant]  # of the platform: its start
    assert len(links) == 200
    stored = {(one.chain, one.sequence): one.fingerprint for one in links}
    assert {(one.payload.chain, one.payload.sequence): one.payload.fingerprint for one in copies} == stored
    assert isinstance(proof, pb.ProveResponse)
    assert {link.record_id for link in proof.links} == {"d6", "d7"}
    assert all(chain.verified for chain in proof.chains)


async def test_the_chain_goes_on_on_a_new_bus(outside, service, tmp_path, open_outside):
    """The bus is gone with all it held; the record is not, and a repeat of what it knows adds nothing."""
    with service("audit"):
        await outside.publish(topics.AUDIT_SUBMITTED, decision(1), "d1")
        await outside.until(1, topics.AUDIT_RECORDED)
    with embedded_bus(tmp_path / "bus2") as second, service("audit", second):
        async with open_outside(second) as other:
            await other.publish(topics.AUDIT_SUBMITTED, decision(1), "d1")
            await other.publish(topics.AUDIT_SUBMITTED, decision(2), "d2")
            until = time.monotonic() + 60  # the copy of d1 may come again: killed before it was marked as sent
            while "d2" not in (copied := {one.payload.record_id for one in await other.events(topics.AUDIT_RECORDED)}):
                assert time.monotonic() < until, copied
                await asyncio.sleep(0.1)

    path = tmp_path / "audit" / "state.db"
    first, second = [link for link in read_links(path) if link.tenant]
    assert (first.record_id, second.record_id) == ("d1", "d2")
    assert (second.chain, second.previous_fingerprint) == (first.chain, first.fingerprint)
    assert verify_database(path).verified


async def test_a_rotated_key_takes_over_at_the_next_start(outside, service, tmp_path):
    """What both keys signed verifies with the first one; checkpoints lie in the anchor, and agree with the record."""
    files, path = KeyFiles(tmp_path / "audit"), tmp_path / "audit" / "state.db"
    with service("audit"):
        await outside.publish(topics.AUDIT_SUBMITTED, decision(1), "d1")
        await outside.until(1, topics.AUDIT_RECORDED)
    first = files.verifier()
    files.rotate()
    with service("audit"):
        await outside.publish(topics.AUDIT_SUBMITTED, decision(2), "d2")
        await outside.until(2, topics.AUDIT_RECORDED)

    assert files.verifier() != first
    (chain,) = {link.chain for link in read_links(path) if link.tenant}
    told = [json.loads(link.record_json)["activity_name"] for link in read_links(path) if link.chain == chain]
    actions = [action for action in told if action != "configuration.changed"]  # of its start, in whichever chain
    assert actions[-3:] == ["request.admitted", "audit.key_changed", "request.admitted"]
    for key in (first, files.verifier()):
        report = verify_database(path, [key])
        assert report.verified
        assert all(chain.signed_to == chain.length for chain in report.chains)


async def test_checkpoints_are_anchored_while_the_service_runs(outside, service, tmp_path, monkeypatch):
    """In a folder of the operator's choosing, seconds after the decision."""
    monkeypatch.setenv("HEADRACE_AUDIT__ANCHOR", str(tmp_path / "anchor"))
    monkeypatch.setenv("HEADRACE_AUDIT__CHECKPOINT_INTERVAL_S", "0.2")
    with service("audit"):
        await outside.publish(topics.AUDIT_SUBMITTED, decision(1), "d1")
        until = time.monotonic() + 60
        while not (anchored := read_anchors(tmp_path / "anchor")):
            assert time.monotonic() < until
            await asyncio.sleep(0.1)

    key = KeyFiles(tmp_path / "audit").verifier()
    assert verify_database(tmp_path / "audit" / "state.db", [key], anchored).verified
