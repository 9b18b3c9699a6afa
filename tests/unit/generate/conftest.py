"""Fakes of everything that generation needs, and a query to ask."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from headrace_errors import Overloaded, Refused
from headrace_generate.adapters.memory import MemoryJournal
from headrace_generate.answering import EvidencePolicy, Passage, TermStatistics
from headrace_generate.catalogue import ModelCard
from headrace_generate.domain import Attempt, Origin, Query, TokenUse, Written
from headrace_generate.handlers import Writing, answer_query
from headrace_generate.ports import ServedModel
from headrace_generate.prompts import load_prompt

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
SENTENCE = "The Eiffel Tower was finished in 1889 for the World's Fair."
TEXT = f"Paris has many sights. {SENTENCE} It is made of iron."


class FakeClock:
    """Stands still unless told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


class FakeEngine:
    """Does what `script` says, call by call: an answer, all that is said of one, or an exception to raise."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script) or ["I do not know."]
        self.calls: list[Any] = []
        self.begun = asyncio.Event()

    def count_tokens(self, messages: Sequence[Any]) -> int:
        return sum(len(message.content.split()) for message in messages)

    async def generate(self, call: Any, progress: Any) -> Written:
        self.calls.append(call)
        self.begun.set()
        step = self.script[min(len(self.calls), len(self.script)) - 1]
        if step == "hang":
            progress(3)
            await asyncio.Event().wait()
        if isinstance(step, Exception):
            raise step
        if isinstance(step, Written):
            return step
        return Written(step, "stop", TokenUse(100, 10, 5), "response-1", "model-1")


@dataclass
class FakeRails:
    """Drops passages whose text holds a blocked word; keeps what it was asked about."""

    blocked: str = "\0"
    asked: list[str] = field(default_factory=list)

    async def question(self, text: str, _origin: Origin, _request_id: str) -> str:
        self.asked.append(text)
        return text

    async def admit(self, passages: Sequence[Passage], _origin: Origin, _request_id: str) -> tuple[Passage, ...]:
        self.asked += [passage.text for passage in passages]
        return tuple(passage for passage in passages if self.blocked not in passage.text)

    async def release(self, texts: Sequence[str], _origin: Origin, _request_id: str) -> tuple[str, ...]:
        return tuple(texts)


@dataclass
class FakePermits:
    """One for everybody, or for nobody."""

    full: bool = False

    def check(self) -> None:
        if self.full:
            raise Overloaded("full", retry_after_s=1.0)

    @asynccontextmanager
    async def until(self, _deadline: datetime) -> AsyncIterator[None]:
        self.check()
        yield


@dataclass
class FakeMeter:
    """Keeps what was reserved; refuses when told to."""

    refusal: Exception | None = None
    reserved: list[tuple[str, int, int]] = field(default_factory=list)
    released: list[str] = field(default_factory=list)

    async def reserve(self, attempt: Attempt, *, input_tokens: int, output_tokens: int) -> None:
        if self.refusal:
            raise self.refusal
        self.reserved.append((attempt.id, input_tokens, output_tokens))

    async def release(self, attempt: Attempt) -> None:
        self.released.append(attempt.id)


class WordEmbed:
    """Vectors of word overlap: one direction a word, so that cosine means shared words."""

    tokens = 0

    def on_behalf_of(self, _origin: Origin, _request_id: str) -> "WordEmbed":
        return self

    async def __call__(self, texts: Sequence[str], /) -> np.ndarray:
        self.tokens += sum(len(text.split()) for text in texts)
        rows = np.full((len(texts), 4096), 1e-6, np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row[sum(ord(letter) * 31**at for at, letter in enumerate(word.strip("?.,"))) % 4096] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class World:
    """All the fakes, and `ask` to run the use case over them."""

    def __init__(self) -> None:
        self.clock, self.journal, self.rails, self.meter = FakeClock(), MemoryJournal(), FakeRails(), FakeMeter()
        self.engine, self.embedder = FakeEngine(SENTENCE), WordEmbed()
        self.permits = FakePermits()
        self.card = ModelCard(
            name="small", kind="null", context_tokens=2048, output_tokens_max=50, style="quote_first", attempts_max=3
        )
        self.owner = "instance-1"
        self.waits: list[float] = []
        self.running: dict[str, set[str]] = defaultdict(set)

    def find(self, name: str) -> ServedModel:
        if name not in ("", "small"):
            raise Refused("no such model", reason="unknown_model")
        return ServedModel(self.card, self.engine, self.permits)

    async def _wait(self, _card: ModelCard, _attempt: int, asked_s: float, _deadline: datetime) -> None:
        self.waits.append(asked_s)

    async def ask(self, query: Query) -> Attempt:
        return await answer_query(
            query,
            models=self,
            journal=self.journal,
            rails=self.rails,
            embedder=self.embedder,
            meter=self.meter,
            writing=Writing(
                load_prompt,
                EvidencePolicy(threshold=0.5),
                self.owner,
                self.clock,
                self._wait,
                running=self.running[self.owner],
            ),
        )

    async def attempts(self) -> tuple[Attempt, ...]:
        return await self.journal.attempts("acme", "r1")

    async def states(self) -> list[str]:
        return [attempt.state for attempt in await self.attempts()]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def query() -> Query:
    passage = Passage("paris.md", 1, "c1", 0, len(TEXT), TEXT)
    origin = Origin("event-1", "acme", ("everyone",), START + timedelta(seconds=60), feature="help", asker="alice")
    return Query("r1", "When was the Eiffel Tower finished?", (passage,), TermStatistics(), origin, embedding_tokens=7)


@pytest.fixture
def expired(query: Query) -> Query:
    return replace(query, origin=replace(query.origin, deadline=START))
