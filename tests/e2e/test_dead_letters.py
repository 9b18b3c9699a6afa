"""Poison among questions: dead-lettered with its bytes and a reason, one outcome each; mended and replayed, answered.

HEADRACE_POISON_OF=20000 asks as many questions, 207 of them poison; the default is a small run of the same.
"""

import asyncio
import base64
import hashlib
import json
import os
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from headrace_storage import ObjectBlobs
from headrace_testkit import running_platform

pytestmark = pytest.mark.e2e
REQUESTS, OUTCOMES = "headrace.query.requested.v1", "headrace.answer.completed.v1"
TENANT = "default"
MESSAGES = int(os.environ.get("HEADRACE_POISON_OF", "160"))
POISON = 207 if MESSAGES >= 20_000 else 8
TIMEOUT_S = 120 + MESSAGES / 5
# No weights, and any passage is evidence enough: what is tested is what becomes of messages.
NULL_MODELS = {
    "HEADRACE_GENERATE__MODEL": "null",
    "HEADRACE_EMBED__MODEL": "null",
    "HEADRACE_INGEST__EMBEDDING_MODEL": "null",
    "HEADRACE_GENERATE__EVIDENCE_THRESHOLD": "-2",
}
DOCUMENT = "The sluice of Marrow Weir opens at four metres. It was built in 1888 by Edith Lane."


def question(number):
    """Return the body of a question, and the headers that a stock producer sends with it."""
    body = {"question": f"At what level does the sluice of Marrow Weir open? ({number})"}
    deadline = datetime.now(UTC) + timedelta(seconds=TIMEOUT_S)  # most of a large run wait for their turn
    headers = {"ce_id": str(uuid.uuid4()), "ce_tenant": TENANT, "ce_deadline": deadline.isoformat()}
    return json.dumps(body).encode(), headers | {"x-number": str(number)}


class Poisoned:
    """Questions, some of which name a blob that is not there: their body is published, but cannot be had yet."""

    def __init__(self):
        self.good, self.poison = {}, {}
        for number in range(MESSAGES):
            body, headers = question(number)
            if number % (MESSAGES // POISON) == 0 and len(self.poison) < POISON:
                reference = f"sha256:{hashlib.sha256(body).hexdigest()}"
                self.poison[headers["ce_id"]] = body, headers | {"ce_dataref": reference}
            else:
                self.good[headers["ce_id"]] = body, headers

    async def publish(self, bootstrap):
        """Publish all, in order of their numbers, with a stock producer."""
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5)
        await producer.start()
        asked = sorted([*self.good.values(), *self.poison.values()], key=lambda one: int(one[1]["x-number"]))
        for start in range(0, len(asked), 500):
            await asyncio.gather(*[await self._send(producer, *one) for one in asked[start : start + 500]])
        await producer.stop()

    async def _send(self, producer, body, headers):
        value = b"" if "ce_dataref" in headers else body
        raw = [(name, content.encode()) for name, content in headers.items()]
        return await producer.send(REQUESTS, value, key=headers["ce_id"].encode(), headers=raw)

    async def mend(self, blobs):
        """Bring the blobs that were missing."""
        for body, _ in self.poison.values():
            await blobs.put(TENANT, body)


class Outcomes:
    """What an outsider sees on the topic of outcomes: every record, by request."""

    def __init__(self, bootstrap):
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, check_crcs=False, isolation_level="read_committed"
        )
        self.by_request = {}
        self.records = Counter()

    async def __aenter__(self):
        await self._consumer.start()
        places = [TopicPartition(OUTCOMES, number) for number in range(4)]
        self._consumer.assign(places)
        for place, end in (await self._consumer.end_offsets(places)).items():
            self._consumer.seek(place, end)
        return self

    async def __aexit__(self, *_):
        await self._consumer.stop()

    async def of(self, requests):
        """Return the outcomes of requests, once there is one of each."""
        async with asyncio.timeout(TIMEOUT_S):
            while not requests <= self.by_request.keys():
                for records in (await self._consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        outcome = json.loads(record.value)
                        self.by_request[outcome["request_id"]] = outcome
                        self.records[outcome["request_id"]] += 1
        return {request: self.by_request[request] for request in requests}


@pytest.fixture(params=["embedded", "native"])
def running(request, tmp_path):
    """Run a platform, on each bus, that knows one document."""
    environment = dict(NULL_MODELS)
    if request.param == "native":
        kafka = request.getfixturevalue("own_server")("kafka")
        environment |= {"HEADRACE_PROFILE": "native", **kafka.environment}
    with running_platform(tmp_path / "data", environment=environment) as platform:
        (tmp_path / "weir.md").write_text(DOCUMENT)
        assert platform.run("ingest", str(tmp_path / "weir.md"), "--wait").code == 0
        yield platform


@pytest.mark.timeout(TIMEOUT_S * 4)
async def test_poison_is_kept_ended_mended_and_replayed(running):
    """Each poison message: its letter with reason and bytes, its request failed; replayed, a new request answered."""
    asked, bootstrap = Poisoned(), running.status()["bus"]["bootstrap"]
    async with Outcomes(bootstrap) as outcomes:
        await asked.publish(bootstrap)
        ended = await outcomes.of(asked.good.keys() | asked.poison.keys())

        assert {one["outcome"] for request, one in ended.items() if request in asked.good} == {"OUTCOME_ANSWERED"}
        failed = {(ended[request]["outcome"], ended[request]["reason"]) for request in asked.poison}
        assert failed == {("OUTCOME_FAILED", "dead_lettered")}

        letters = headrace(running, "dlq", "ls", "--limit", "0").json()
        assert {letter["request_id"] for letter in letters} == asked.poison.keys()
        assert {(one["reason"], one["error_class"]) for one in letters} == {("blob_not_found", "BlobNotFound")}
        shown = headrace(running, "dlq", "show", letters[0]["id"]).json()
        found = {one["name"]: base64.b64decode(one["value_base64"]).decode() for one in shown["headers"]}
        _, headers = asked.poison[letters[0]["request_id"]]
        assert (shown["body_base64"], found) == ("", headers)

        dry = headrace(running, "dlq", "replay", "--reason", "blob_not_found", "--dry-run").json()
        assert len(dry) == POISON
        await asked.mend(ObjectBlobs.in_folder(running.data_dir / "blobs"))
        replays = headrace(running, "dlq", "replay", "--reason", "blob_not_found", "--as", "").json()
        assert {one["request_id"] for one in replays} == asked.poison.keys()
        new = {one["replayed_as"] for one in replays}
        assert len(new) == POISON
        assert not new & asked.poison.keys()
        again = await outcomes.of(new)
        assert {one["outcome"] for one in again.values()} == {"OUTCOME_ANSWERED"}

        await asyncio.sleep(1)  # for whatever may come twice
        await outcomes.of(set())
        assert set(outcomes.records.values()) == {1}
        assert len(outcomes.records) == MESSAGES + POISON

    decided = headrace(running, "dlq", "ls", "--decided", "--limit", "0").json()
    assert {letter["state"] for letter in decided} == {"replayed"}
    assert {letter["decisions"][0]["replayed_as"] for letter in decided} == new
    async with asyncio.timeout(TIMEOUT_S):  # after a large run the record has a backlog to work off
        while (audited := replays_audited(running)) < POISON:  # noqa: ASYNC110 - the topic is what is asked
            await asyncio.sleep(2)
    assert audited == POISON


def replays_audited(platform):
    """Count the replays that the audit record has by now."""
    audited = platform.run("tail", "audit.recorded", "--from-beginning", "--until-end").lines()
    return sum("dead_letter.replayed" in one["payload"]["record_json"] for one in audited)


def headrace(platform, *arguments):
    """Run a command with --json; it must succeed."""
    ran = platform.run(*arguments, "--json", timeout_s=TIMEOUT_S)
    assert ran.code == 0, ran.err
    return ran
