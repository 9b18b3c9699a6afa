"""Continuous batching over slots: prompts are read in chunks beside the sequences that are already being written.

One `step` reads at most one chunk of one prompt and adds one token to every running sequence, so a cancellation or a
deadline takes effect within one step. Rows do not see each other: a greedy output is the same whatever runs beside it.
No threads, no I/O, no tokenizer of its own; the host calls `step` while `busy`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from headrace_inference.sampling import GREEDY, Logits, Sampling, TokenPicker
from headrace_inference.stop_text import StopText

FinishReason = Literal["stop", "length", "cancelled", "expired"]


class QueueFullError(Exception):
    """No more jobs may wait; try again after a while."""


class PromptTooLongError(ValueError):
    """Prompt and output together do not fit into a slot, or the prompt is empty."""


class BatchModel(Protocol):
    """What the engine needs of a model: see SlotModel. It has two slots beyond the last one.

    In the first a prompt is read before it takes a slot; the second keeps the head that prompts share.
    """

    @property
    def slots(self) -> int:
        """How many sequences may run at once."""

    @property
    def slot_tokens(self) -> int:
        """How many tokens a sequence may have, prompt included."""

    def prefill(self, slot: int, tokens: Sequence[int], start: int) -> Logits:
        """Append tokens at `start`; return logits [vocabulary]."""

    def decode(self, tokens: Sequence[int], lengths: Sequence[int]) -> Logits:
        """Append one token to each of the first slots; return logits [n, vocabulary]."""

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a slot's first tokens over another."""


@dataclass(frozen=True)
class Job:
    """One generation. `deadline_s` is on the engine's clock; `max_tokens` counts output.

    The first `head_tokens` of the prompt may be kept and shared with other jobs that begin alike. Say so only of text
    that is nobody's secret: how soon a job begins tells whether its head was there.
    """

    id: str
    prompt: tuple[int, ...]
    max_tokens: int
    sampling: Sampling = GREEDY
    stops: tuple[str, ...] = ()
    deadline_s: float = float("inf")
    head_tokens: int = 0


@dataclass(frozen=True)
class Delta:
    """Text that a job has added."""

    id: str
    text: str


@dataclass(frozen=True)
class Finished:
    """The end of a job, always its last event. `output_tokens` counts every token made, an end token included.

    `cached_tokens` of the prompt were not computed for this job.
    """

    id: str
    reason: FinishReason
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0


Event = Delta | Finished


@dataclass(eq=False)
class _Sequence:
    job: Job
    picker: TokenPicker
    text: StopText
    decode: Callable[[int], str]
    length: int = 0  # tokens in the slot
    cached: int = 0  # of these, tokens that were there before
    made: list[int] = field(default_factory=list)


class SlotEngine:
    """The scheduler. `new_decoder` gives a function from token ids, one by one, to the text that each completes."""

    def __init__(
        self,
        model: BatchModel,
        new_decoder: Callable[[], Callable[[int], str]],
        *,
        end_tokens: frozenset[int],
        clock: Callable[[], float],
        waiting_max: int = 64,
        prefill_chunk_tokens: int = 128,
    ) -> None:
        self._model, self._new_decoder, self._end_tokens, self._clock = model, new_decoder, end_tokens, clock
        self._waiting_max, self._chunk_tokens = waiting_max, prefill_chunk_tokens
        self._waiting: deque[_Sequence] = deque()
        self._reading: _Sequence | None = None
        self._running: list[_Sequence] = []  # index = slot
        self._cancelled: set[str] = set()
        self._head: tuple[int, ...] = ()

    @property
    def busy(self) -> bool:
        """Whether a step has anything to do."""
        return bool(self._waiting or self._reading or self._running)

    def submit(self, job: Job) -> None:
        """Queue a job. Raises PromptTooLongError or QueueFullError; then nothing was queued."""
        if not job.prompt or job.max_tokens < 1 or len(job.prompt) + job.max_tokens > self._model.slot_tokens:
            limit = self._model.slot_tokens
            raise PromptTooLongError(f"{len(job.prompt)} prompt + {job.max_tokens} output tokens, limit {limit}")
        if len(self._waiting) >= self._waiting_max:
            raise QueueFullError(f"{self._waiting_max} jobs are waiting")
        self._waiting.append(_Sequence(job, TokenPicker(job.sampling), StopText(job.stops), self._new_decoder()))

    def cancel(self, job_id: str) -> None:
        """End a job at the next step; unknown ids are ignored (it may just have finished)."""
        if any(sequence.job.id == job_id for sequence in self._all()):
            self._cancelled.add(job_id)

    def step(self) -> list[Event]:
        """Do one unit of work; return what happened, in order per job. Blocks for at most two runs of the model."""
        events = self._drop_ended()
        events += self._read_prompt()
        events += self._write_tokens()
        return events

    def _all(self) -> list[_Sequence]:
        return [*self._waiting, *([self._reading] if self._reading else []), *self._running]

    def _drop_ended(self) -> list[Event]:
        """End what was cancelled or is too late, wherever it stands."""
        now = self._clock()
        events: list[Event] = []
        for sequence in self._all():
            if sequence.job.id in self._cancelled:
                events += self._finish(sequence, "cancelled")
            elif sequence.job.deadline_s <= now:
                events += self._finish(sequence, "expired")
        self._cancelled.clear()
        return events

    def _read_prompt(self) -> list[Event]:
        """Read the next chunk of a prompt; a prompt read to its end yields the first token and takes a slot."""
        if self._reading is None:
            if not self._waiting or len(self._running) >= self._model.slots:
                return []
            self._reading = self._waiting.popleft()
            self._begin_with_head(self._reading)
        sequence, staging = self._reading, self._model.slots
        chunk = sequence.job.prompt[sequence.length : sequence.length + self._chunk_tokens]
        logits = self._model.prefill(staging, chunk, sequence.length)
        sequence.length += len(chunk)
        if sequence.length < len(sequence.job.prompt):
            return []
        self._reading = None
        self._keep_head(sequence.job)
        self._model.move(staging, len(self._running), sequence.length)
        self._running.append(sequence)
        return self._advance(sequence, logits)

    def _begin_with_head(self, sequence: _Sequence) -> None:
        """Take the kept head over where the prompt begins with it."""
        kept = len(self._head)
        if 0 < kept == sequence.job.head_tokens < len(sequence.job.prompt) and sequence.job.prompt[:kept] == self._head:
            self._model.move(self._model.slots + 1, self._model.slots, kept)
            sequence.length = sequence.cached = kept

    def _keep_head(self, job: Job) -> None:
        """Keep the head of a prompt that was just read; there is room for one."""
        head = job.prompt[: job.head_tokens]
        if head and head != self._head:
            self._model.move(self._model.slots, self._model.slots + 1, len(head))
            self._head = head

    def _write_tokens(self) -> list[Event]:
        """Add one token to every running sequence."""
        running = tuple(self._running)
        if not running:
            return []
        rows = self._model.decode([each.made[-1] for each in running], [each.length for each in running])
        for sequence in running:  # before any of them moves: what is copied is counted
            sequence.length += 1
        return [event for each, logits in zip(running, rows, strict=True) for event in self._advance(each, logits)]

    def _advance(self, sequence: _Sequence, logits: Logits) -> list[Event]:
        """Add the next token to a running sequence, and end it where it ends."""
        token = sequence.picker.pick(logits)
        sequence.made.append(token)
        if token in self._end_tokens:
            return self._finish(sequence, "stop")
        text = sequence.text.feed(sequence.decode(token))
        events: list[Event] = [Delta(sequence.job.id, text)] if text else []
        if sequence.text.stopped:
            return events + self._finish(sequence, "stop")
        if len(sequence.made) >= sequence.job.max_tokens:
            return events + self._finish(sequence, "length")
        return events

    def _finish(self, sequence: _Sequence, reason: FinishReason) -> list[Event]:
        """Take a sequence out, wherever it stands; the last running one moves into its slot."""
        job = sequence.job
        if sequence in self._running:
            self._vacate(self._running.index(sequence))
        elif sequence is self._reading:
            self._reading = None
        else:
            self._waiting.remove(sequence)
        rest = sequence.text.rest()
        finished = Finished(job.id, reason, len(job.prompt), len(sequence.made), sequence.cached)
        return [Delta(job.id, rest), finished] if rest else [finished]

    def _vacate(self, slot: int) -> None:
        last = self._running.pop()
        if slot < len(self._running):
            self._model.move(len(self._running), slot, last.length)
            self._running[slot] = last
