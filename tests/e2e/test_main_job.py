"""Documents and questions in; one outcome each, with citations, cost, proof and one trace."""

import json
import uuid

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from .folders import QUESTIONS, UNANSWERABLE

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def documents(platform, folder):
    ran = platform.run("ingest", str(folder), "--wait", "--json")
    assert ran.code == 0, ran.err
    return folder


def test_every_kind_of_document_is_indexed_and_a_second_run_changes_nothing(platform, documents):
    """md, txt, html, pdf and docx are indexed; ingesting them again is a no-op."""
    again = platform.run("ingest", str(documents), "--wait", "--json").json()
    assert {one["document"]: (one["state"], one["version"]) for one in again["documents"]} == dict.fromkeys(
        ("tides.md", "mill.txt", "bridge.html", "shaft.pdf", "lighthouse.docx"), ("unchanged", 1)
    )


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_answered_with_a_citation_that_stands_verbatim(platform, documents, question):
    """The answer names the right document, and its quote is a span of the stored text."""
    document, fact = QUESTIONS[question]
    ran = platform.run("ask", question, "--json")
    answer = ran.json()

    assert (ran.code, answer["outcome"]) == (0, "answered"), answer
    assert fact in answer["answer"]
    first = answer["citations"][0]
    assert first["document"] == document
    text = platform.run("docs", "show", document, "--text", "--json").json()["text"]
    assert text[first["start"] : first["end"]] == first["quote"]
    assert answer["cost_state"] == "rated"
    assert float(answer["cost"]) > 0
    assert answer["timings_ms"]["total"] > 0


def test_what_the_documents_do_not_answer_is_refused(platform, documents):
    """Too little evidence is `no_evidence`, never an invention."""
    ran = platform.run("ask", UNANSWERABLE, "--json")
    assert ran.code == 4
    assert (ran.json()["outcome"], ran.json()["reason"]) == ("refused", "no_evidence")


def test_search_names_document_version_span_and_score(platform, documents):
    """Results are spans of stored texts, best first."""
    found = platform.run("search", "tidal range Larkspur", "-k", "10", "--json").json()
    assert found["query"] == "tidal range Larkspur"
    assert found["results"][0]["document"] == "tides.md"
    assert set(found["results"][0]) >= {"document", "version", "chunk", "start", "end", "text", "score"}
    scores = [one["score"] for one in found["results"]]
    assert scores == sorted(scores, reverse=True)


async def test_a_stock_kafka_client_asks_in_json_and_reads_the_outcome(platform, documents):
    """A producer that knows Kafka and JSON needs nothing of ours."""
    bootstrap, request_id = platform.status()["bus"]["bootstrap"], str(uuid.uuid4())
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", check_crcs=False)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await consumer.start()
    await producer.start()
    try:
        consumer.assign([TopicPartition("headrace.answer.completed.v1", number) for number in range(4)])
        await consumer.seek_to_beginning()
        question = {"request_id": request_id, "question": next(iter(QUESTIONS))}
        headers = [("ce_id", request_id.encode()), ("ce_tenant", b"default"), ("content-type", b"application/json")]
        await producer.send_and_wait("headrace.query.requested.v1", json.dumps(question).encode(), headers=headers)
        async for message in consumer:
            outcome = json.loads(message.value)
            if outcome["request_id"] == request_id:
                break
    finally:
        await consumer.stop()
        await producer.stop()
    assert outcome["outcome"] == "OUTCOME_ANSWERED"
    assert outcome["citations"][0]["document"] == "tides.md"


def test_a_file_of_questions_gives_one_line_each_in_input_order(platform, documents, tmp_path):
    """Every line is printed, answered or not, in the order of the file."""
    questions = [*QUESTIONS, UNANSWERABLE]
    file = tmp_path / "questions.txt"
    file.write_text("\n".join(questions), encoding="utf-8")
    ran = platform.run("ask", "--from", str(file), "--json")
    assert [one["question"] for one in ran.lines()] == questions
    assert ran.code == 1
    assert [one["outcome"] for one in ran.lines()] == ["answered"] * len(QUESTIONS) + ["refused"]


def test_a_removed_document_is_found_by_nothing(platform, tmp_path):
    """After `docs rm` neither search nor ask knows it."""
    (tmp_path / "secret.md").write_text("The Wexcombe signal lamp burns walnut oil from Tarragona.\n")
    assert platform.run("ingest", str(tmp_path), "--wait").code == 0
    question = "What does the Wexcombe signal lamp burn?"
    assert platform.run("ask", question, "--json").json()["outcome"] == "answered"

    removed = platform.run("docs", "rm", "secret.md", "--json")

    assert (removed.code, removed.json()[0]["state"]) == (0, "deleted")
    results = platform.run("search", "Wexcombe signal lamp walnut oil", "-k", "50", "--json").json()["results"]
    assert "secret.md" not in {one["document"] for one in results}
    assert platform.run("ask", question, "--json").json()["reason"] == "no_evidence"


def test_a_changed_document_is_its_next_version(platform, tmp_path):
    """The old version's text is not found any more, the new one's is."""
    file = tmp_path / "ferry.md"
    file.write_text("The Dunmore ferry leaves at seven in the morning.\n")
    platform.run("ingest", str(tmp_path), "--wait")
    file.write_text("The Dunmore ferry leaves at noon on weekdays.\n")
    changed = platform.run("ingest", str(tmp_path), "--wait", "--json").json()["documents"][0]
    assert (changed["state"], changed["version"]) == ("indexed", 2)
    texts = [
        one["text"]
        for one in platform.run("search", "Dunmore ferry", "-k", "50", "--json").json()["results"]
        if one["document"] == "ferry.md"
    ]
    assert len(texts) == 1
    assert "noon" in texts[0]


def test_costs_audit_and_feedback(platform, documents):
    """The ledger groups by feature, the chains verify, and feedback on an own request is taken."""
    answer = platform.run("ask", next(iter(QUESTIONS)), "--feature", "harbour", "--json").json()
    costs = platform.run("costs", "--by", "feature", "--json").json()
    assert "harbour" in {row["feature"] for row in costs["rows"]}
    assert platform.run("audit", "verify").code == 0
    assert platform.run("feedback", answer["request_id"], "up").code == 0
