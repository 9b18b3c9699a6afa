"""Where generate's parts meet."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from headrace_runtime import Chassis, Configured, EmbeddedTokens, Service, regularly
from headrace_telemetry import get_logger

from headrace_generate import metrics
from headrace_generate.abandoning import abandon, sweep
from headrace_generate.adapters.peers import EmbedPeer, MeterBudget, ModerateRails
from headrace_generate.adapters.served_models import ServedModels
from headrace_generate.adapters.sql_journal import INSIST_S, METADATA, SqlJournal
from headrace_generate.answering import Evidence, EvidencePolicy
from headrace_generate.catalogue import ModelCard
from headrace_generate.domain import Attempt, Query
from headrace_generate.entrypoints import grpc, kafka
from headrace_generate.handlers import Writing, answer_query
from headrace_generate.loop_lag import watch_loop
from headrace_generate.ports import Progress
from headrace_generate.prompts import load_prompt
from headrace_generate.settings import Settings

MIGRATIONS = Path(__file__).with_name("migrations")
# Of the clocks, and of an owner that was slow between its last look at the deadline and its call.
SWEEP_MARGIN_S = 60
_log = get_logger()


async def build(settings: Settings, chassis: Chassis) -> Service:
    """Wire the service; its default model is fetched and imported before it is ready."""
    database, outbox = await chassis.database(METADATA, migrations=MIGRATIONS)
    journal = SqlJournal(database, outbox)
    models = ServedModels(settings.catalogue(), settings, _now)
    rails = ModerateRails(chassis.peer("moderate"))
    embedded = EmbeddedTokens()
    embedder, meter = EmbedPeer(chassis.peer("embed"), embedded), MeterBudget(chassis.peer("meter"))
    policy = EvidencePolicy(threshold=settings.evidence_threshold)
    writing = Writing(load_prompt, policy, str(uuid.uuid4()), _now, _wait, _log_evidence)

    async def answer(query: Query, progress: Progress = lambda _tokens: None) -> Attempt:
        return await answer_query(
            query,
            models=models,
            journal=journal,
            rails=rails,
            embedder=embedder,
            meter=meter,
            writing=writing,
            progress=progress,
        )

    async def prepare() -> None:
        await models.open()
        if chassis.bus.embedded:  # one instance at a time: what is open was left by one that is gone
            for attempt in await journal.left_open(writing.owner):
                await abandon(attempt, journal=journal, clock=_now, closing=False)

    grace = timedelta(seconds=settings.longest_call_s() + INSIST_S + SWEEP_MARGIN_S)

    async def sweep_once() -> None:
        if count := await sweep(journal=journal, clock=_now, running=writing.running, grace=grace):
            _log.warning("attempts.abandoned", count=count)

    return Service(
        subscriptions=kafka.subscriptions(
            answer=answer, journal=journal, embedded=embedded, clock=_now, running=writing.running
        ),
        rpcs=[grpc.rpc(answer=answer, journal=journal, rails=rails, models=models)],
        before_ready=prepare,
        tasks=[
            models.run_forever,
            partial(watch_loop, metrics.loop_lagged, clock=time.monotonic, sleep=asyncio.sleep),
            partial(regularly, sweep_once, interval_s=settings.sweep_interval_s, missed="sweep.waiting"),
        ],
        closers=[models.close],
        configuration=[Configured("models", settings.catalogue().model_dump_json().encode())],
    )


async def _wait(card: ModelCard, attempt: int, asked_s: float, deadline: datetime) -> None:
    """Sleep before the next attempt: exponential with jitter, or longer where the provider asks for it, bounded."""
    doubled_ms = card.retry_wait_min_ms * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
    wait_s = min(max(doubled_ms, asked_s * 1000), card.retry_wait_max_ms) / 1000
    await asyncio.sleep(min(wait_s, max(0.0, (deadline - _now()).total_seconds())))


def _log_evidence(query: Query, evidence: Evidence) -> None:
    # Why a question was refused, or how narrowly it was not: what the threshold is fitted from (make quality).
    _log.info(
        "evidence.judged",
        request_id=query.request_id,
        score=round(evidence.score, 4),
        quotes=len(evidence.quotes),
        sufficient=evidence.sufficient,
    )


def _now() -> datetime:
    return datetime.now(UTC)
