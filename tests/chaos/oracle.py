"""The oracle: what was lost, doubled, billed twice, put out of order, run twice or broken in the record. Pure counting.

Every finding is a line of words, so that a report can show what it counted. It shares no code with the product.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from chaos.evidence import Evidence, Question, Seen, Submission

_ENDED = ("STATE_INDEXED", "STATE_FAILED", "STATE_DELETED", "STATE_UNCHANGED")
_DECLARED = "configuration.declared"
_CUT_SHORT = ("unknown", "failed", "cancelled")
Lines = list[str]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a row found; empty lists everywhere are a row without a fault of ours."""

    lost: Sequence[str]
    """Questions and document submissions without an outcome, decisions that the audit record lacks."""
    duplicated: Sequence[str]
    """What a read-committed consumer gets twice: a second outcome, a second copy of an event that came from an outbox,
    a decision with two places in the audit record."""
    double_billed: Sequence[str]
    """Second cost rows of one attempt and meter."""
    unbilled: Sequence[str]
    """Usage without its cost row, cost rows without usage, runs of the model that no usage tells of."""
    order_breaks: Sequence[str]
    """Later messages of a key that took effect before earlier ones, at their first delivery."""
    extra_runs: Sequence[str]
    """Runs of the model that no cut-short attempt before them explains."""
    chain_breaks: Sequence[str]
    """Places where the audit record on the topic does not follow."""
    strays: Sequence[str]
    """Outcomes of requests that nobody made."""


def judge(evidence: Evidence) -> Findings:
    """Count."""
    return Findings(
        lost=_lost_questions(evidence) + _lost_submissions(evidence) + _lost_decisions(evidence),
        duplicated=_second_outcomes(evidence) + _copied_events(evidence) + _decisions_recorded_twice(evidence),
        double_billed=_double_billed(evidence.costs),
        unbilled=_unbilled(evidence) + _unreported_runs(evidence),
        order_breaks=_question_order(evidence) + _document_order(evidence),
        extra_runs=_extra_runs(evidence),
        chain_breaks=chain_breaks(evidence.audit),
        strays=_strays(evidence),
    )


def outcome_counts(outcomes: Iterable[Seen]) -> dict[str, int]:
    """Count requests by how they ended, `answered` or `failed: reason`; a repeat counts once."""
    by_request = {one.payload["request_id"]: one.payload for one in outcomes}
    return dict(Counter(_ending(payload) for payload in by_request.values()).most_common())


def not_answered(outcomes: Iterable[Seen]) -> Lines:
    """Name the requests that ended in any other way than with an answer, and how."""
    by_request = {one.payload["request_id"]: _ending(one.payload) for one in outcomes}
    return [f"{request} ended {ending}" for request, ending in by_request.items() if ending != "answered"]


def not_indexed(statuses: Iterable[Seen]) -> Lines:
    """Name the submitted documents that failed by any other reason than a newer version."""
    failed = {one.payload["submission_id"]: one.payload for one in statuses if one.payload["state"] == "STATE_FAILED"}
    return [
        f"{submission} failed: {payload.get('reason')}"
        for submission, payload in failed.items()
        if payload.get("reason") != "superseded"
    ]


def latencies_ms(questions: Iterable[Question], outcomes: Iterable[Seen]) -> dict[str, int]:
    """Return, by request, the time from the question's append to its outcome's."""
    ended: dict[str, int] = {}
    for one in outcomes:
        ended.setdefault(one.payload["request_id"], one.at_ms)
    return {one.request_id: ended[one.request_id] - one.at_ms for one in questions if one.request_id in ended}


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the smallest value that `percent` of the values do not exceed; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def chain_breaks(links: Iterable[Seen]) -> Lines:
    """Recompute every chain of the audit record as docs/money-and-proof.md publishes it; name what does not follow."""
    chains: dict[str, dict[int, Mapping[str, Any]]] = {}
    found = []
    for link in links:
        chain = chains.setdefault(link.payload["chain"], {})
        sequence = int(link.payload["sequence"])
        if chain.setdefault(sequence, link.payload) != link.payload:
            found.append(f"{link.payload['chain']} has two links {sequence}")
    for name, chain in sorted(chains.items()):
        found += _breaks_in(name, chain)
    return found


def ledger_differences(costs: Iterable[Seen], ledger: Mapping[tuple[str, str], int]) -> Lines:
    """Compare the cost topic's quantities, each row once, with the ledger's, by model and meter."""
    rows = {one.id: one.payload for one in costs}
    on_topic: Counter[tuple[str, str]] = Counter()
    for row in rows.values():
        on_topic[row["x_Model"], row["SkuMeter"]] += int(row["ConsumedQuantity"])
    return [
        f"{'/'.join(place)}: cost topic {on_topic[place]}, ledger {ledger.get(place, 0)}"
        for place in sorted(on_topic.keys() | ledger.keys())
        if on_topic[place] != ledger.get(place, 0)
    ]


def _lost_questions(evidence: Evidence) -> Lines:
    ended = {one.payload["request_id"] for one in evidence.outcomes}
    return [f"{one.request_id} has no outcome" for one in evidence.questions if one.request_id not in ended]


def _lost_submissions(evidence: Evidence) -> Lines:
    ended = {
        one.payload["submission_id"] for one in evidence.statuses if one.payload["state"] in _ENDED
    }  # a version that a newer one overtook has ended, too
    return [
        f"{one.document} #{one.number} has no final status"
        for one in evidence.submissions
        if one.submission_id not in ended
    ]


def _lost_decisions(evidence: Evidence) -> Lines:
    recorded = {(link.tenant, link.payload["record_id"]) for link in evidence.audit}
    # What a service says at each start that it was started with is a decision only where it changed.
    told = {(one.tenant, one.id) for one in evidence.decisions if one.headers.get("ce_subject") != _DECLARED}
    return [f"decision {event} of {tenant!r} is not in the record" for tenant, event in told - recorded]


def _decisions_recorded_twice(evidence: Evidence) -> Lines:
    links = {link.id: link for link in evidence.audit}.values()  # a link's own copies are counted elsewhere
    times = Counter((link.tenant, link.payload["record_id"]) for link in links)
    return [f"decision {event} has {count} links" for (_, event), count in times.items() for _ in range(count - 1)]


def _second_outcomes(evidence: Evidence) -> Lines:
    times = Counter(one.payload["request_id"] for one in evidence.outcomes)
    return [f"{request} has {count} outcomes" for request, count in times.items() for _ in range(count - 1)]


def _copied_events(evidence: Evidence) -> Lines:
    # The outcomes' copies are second outcomes; admissions are left out, since a fault repeats them on purpose. Embed
    # has no journal: what is asked of it again runs again, and its usage comes again under the same id.
    usages = [one for one in evidence.usages if not one.headers.get("ce_source", "").startswith("/headrace/embed.")]
    return [
        line
        for records in (evidence.costs, evidence.audit, usages, evidence.statuses, evidence.decisions)
        for line in _copies(records)
    ]


def _copies(records: Iterable[Seen]) -> Lines:
    times = Counter((one.topic, one.id) for one in records)
    return [f"{topic} holds {event} {count} times" for (topic, event), count in times.items() for _ in range(count - 1)]


def _double_billed(costs: Iterable[Seen]) -> Lines:
    times = Counter((one.payload["ResourceId"], one.payload["SkuMeter"]) for one in costs)
    return [f"{attempt} {meter} {count} times" for (attempt, meter), count in times.items() for _ in range(count - 1)]


def _unbilled(evidence: Evidence) -> Lines:
    used = {one.id: _quantities(one.payload) for one in evidence.usages}
    rated: dict[str, dict[str, int]] = {}
    for row in {one.id: one.payload for one in evidence.costs}.values():
        rated.setdefault(row["x_UsageId"], {})[row["SkuMeter"]] = int(row["ConsumedQuantity"])
    differing = [
        f"usage {usage}: used {quantities}, rated {rated.get(usage)}"
        for usage, quantities in used.items()
        if usage not in rated or {k: v for k, v in rated[usage].items() if v} != quantities
    ]
    return differing + [f"cost rows of unknown usage {usage}" for usage in rated.keys() - used.keys()]


def _quantities(usage: Mapping[str, Any]) -> dict[str, int]:
    return {part["meter"]: int(part["quantity"]) for part in usage["quantities"] if int(part["quantity"])}


def _unreported_runs(evidence: Evidence) -> Lines:
    told = {(one.payload["request_id"], one.payload["attempt"]) for one in evidence.usages}
    runs = {(run.request_id, run.attempt) for run in evidence.runs}
    return [f"{request} attempt {attempt} ran and no usage tells of it" for request, attempt in sorted(runs - told)]


def _extra_runs(evidence: Evidence) -> Lines:
    cut_short: Counter[str] = Counter()
    for usage in {one.id: one.payload for one in evidence.usages}.values():
        if usage["status"] in _CUT_SHORT:
            cut_short[usage["request_id"]] += 1
    by_request = Counter(run.request_id for run in evidence.runs)
    beyond = [
        f"{request} ran {count} times, {cut_short[request]} cut short"
        for request, count in by_request.items()
        for _ in range(count - 1 - cut_short[request])
    ]
    by_attempt = Counter((run.request_id, run.attempt) for run in evidence.runs)
    return beyond + [
        f"{request} attempt {attempt} ran {count} times"
        for (request, attempt), count in by_attempt.items()
        if count > 1
    ]


def _question_order(evidence: Evidence) -> Lines:
    """Compare the order of asking with that of moderate's commits, which `ce_sequence` numbers."""
    first: dict[str, int] = {}
    for one in evidence.admitted:
        request = one.headers.get("ce_correlationid", "")
        first[request] = min(one.sequence, first.get(request, one.sequence))
    keys: dict[str, list[Question]] = {}
    for question in evidence.questions:
        if question.request_id in first:
            keys.setdefault(question.key, []).append(question)
    return [
        f"{key}: #{later.number} was admitted before #{earlier.number}"
        for key, questions in keys.items()
        for earlier, later in pairwise(sorted(questions, key=lambda one: one.number))
        if first[later.request_id] <= first[earlier.request_id]
    ]


def _document_order(evidence: Evidence) -> Lines:
    versions: dict[str, int] = {}
    for one in evidence.statuses:
        if one.payload["version"]:
            versions.setdefault(one.payload["submission_id"], one.payload["version"])
    documents: dict[str, list[Submission]] = {}
    for submission in evidence.submissions:
        if submission.submission_id in versions:
            documents.setdefault(submission.document, []).append(submission)
    return [
        f"{document}: #{later.number} became version {versions[later.submission_id]},"
        f" #{earlier.number} version {versions[earlier.submission_id]}"
        for document, submissions in documents.items()
        for earlier, later in pairwise(sorted(submissions, key=lambda one: one.number))
        if versions[later.submission_id] <= versions[earlier.submission_id]
    ]


def _strays(evidence: Evidence) -> Lines:
    asked = {one.request_id for one in evidence.questions}
    return [
        f"{request} was never asked"
        for request in dict.fromkeys(one.payload["request_id"] for one in evidence.outcomes)
        if request not in asked
    ]


def _breaks_in(name: str, chain: Mapping[int, Mapping[str, Any]]) -> Lines:
    found = []
    previous = bytes(32)
    for expected, (sequence, link) in enumerate(sorted(chain.items()), start=1):
        if sequence != expected:
            return [*found, f"{name} lacks link {expected}"]
        fingerprint = hashlib.sha256(previous + link["record_json"].encode()).digest()
        if (previous.hex(), fingerprint.hex()) != (link["previous_fingerprint"], link["fingerprint"]):
            return [*found, f"{name} does not follow at {sequence}"]
        previous = fingerprint
    return found


def _ending(payload: Mapping[str, Any]) -> str:
    outcome = str(payload["outcome"]).removeprefix("OUTCOME_").lower()
    return f"{outcome}: {payload['reason']}" if payload.get("reason") else outcome
