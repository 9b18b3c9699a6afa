"""Continuous batching over slots: prompts are read in chunks beside the sequences that are already being written.

One `step` reads at most one chunk of prompts, or adds one token to every running sequence, or both, so a cancellation
or a deadline takes effect within one step. While prompts are there to be read, a few chunks of them come before each
token of the others: a step that writes for a few costs nearly as much as one that writes for all who could soon join.
Rows do not see each other: a greedy output is the same whatever runs beside it.
No threads, no I/O, no tokenizer of its own; the host calls `step` while `busy`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from headrace_inference.constraint import BadConstraintError, Constraint, Matcher
from headrace_inference.prompt_heads import PromptHeads
from headrace_inference.sampling import Logits
from headrace_inference.slot_jobs import (
    Delta,
    Event,
    Finished,
    FinishReason,
    Job,
    KvUse,
    PromptTooLongError,
    QueueFullError,
)
from headrace_inference.slot_sequence import SlotSequence

# A chunk of one token takes another attention kernel than a longer one, with other last bits. Where a prompt is cut
# follows from what was kept of its head, so no cut may leave a single token over: company must not show.
CHUNK_TOKENS_MIN = 2


class BatchModel(Protocol):
    """What the engine needs of a model: see SlotModel. A prompt is read beside the slots, then moved into one."""

    @property
    def slots(self) -> int:
        """How many sequences may run at once."""

    @property
    def slot_tokens(self) -> int:
        """How many tokens a sequence may have, prompt included."""

    def prefill(self, tokens: Sequence[int], start: int) -> Logits:
        """Append tokens of the prompt being read at `start`; return logits [vocabulary]."""

    def decode(self, tokens: Sequence[int], lengths: Sequence[int]) -> Logits:
        """Append one token to each of the first slots; return logits [n, vocabulary]."""

    def settle(self, slot: int, length: int) -> None:
        """Copy the prompt that was read, of `length` tokens, into a slot."""

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a slot's first tokens over another."""

    def copy_head(self, length: int) -> Any:
        """Return a copy of the first tokens of the prompt being read, to be kept."""

    def put_head(self, head: Any) -> None:
        """Begin a prompt with what `copy_head` returned."""


class SlotEngine:
    """The scheduler. `new_decoder` gives a function from token ids, one by one, to the text that each completes.

    A job is admitted to a slot when one is free; `waiting_max` jobs may wait for that. A step reads up to
    `prefill_chunk_tokens` of prompts; `chunks_between_tokens` steps may do so before running sequences get their next
    token. Kept heads take up to `head_tokens_max` beside the slots.
    """

    def __init__(
        self,
        model: BatchModel,
        new_decoder: Callable[[], Callable[[int], str]],
        *,
        end_tokens: frozenset[int],
        clock: Callable[[], float],
        waiting_max: int = 64,
        prefill_chunk_tokens: int = 128,
        chunks_between_tokens: int = 4,
        head_tokens_max: int = 1024,
        new_matcher: Callable[[Constraint], Matcher] | None = None,
    ) -> None:
        if prefill_chunk_tokens <= CHUNK_TOKENS_MIN:
            raise ValueError(f"prefill_chunk_tokens must be more than {CHUNK_TOKENS_MIN}")
        if chunks_between_tokens < 1:
            raise ValueError("chunks_between_tokens must be at least 1")
        self._model, self._new_decoder, self._end_tokens, self._clock = model, new_decoder, end_tokens, clock
        self._waiting_max, self._chunk_tokens = waiting_max, prefill_chunk_tokens
        self._chunks_between_tokens, self._steps_since_token = chunks_between_tokens, 0
        self._new_matcher = new_matcher or _no_constraints
        self._waiting: deque[SlotSequence] = deque()
        self._reading: SlotSequence | None = None
        self._running: list[SlotSequence] = []  # index = slot
        self._cancelled: set[str] = set()
        self._heads = PromptHeads(head_tokens_max)

    @property
    def busy(self) -> bool:
        """Whether a step has anything to do."""
        return bool(self._waiting or self._reading or self._running)

    def use(self) -> KvUse:
        """Return what is taken of the memory now. Without jobs all but `head_tokens` is zero."""
        taken = self._in_slots()
        return KvUse(
            slots=len(taken),
            slots_max=self._model.slots,
            tokens=sum(each.length for each in taken),
            tokens_reserved=sum(each.job.kv_tokens for each in taken),
            tokens_max=self._model.slots * self._model.slot_tokens,
            head_tokens=self._heads.tokens,
            waiting=len(self._waiting),
        )

    def submit(self, job: Job) -> None:
        """Queue a job. Raises PromptTooLongError, BadConstraintError or QueueFullError; then nothing was queued."""
        if not job.prompt or job.max_tokens < 1 or job.kv_tokens > self._model.slot_tokens:
            limit = self._model.slot_tokens
            raise PromptTooLongError(f"{len(job.prompt)} prompt + {job.max_tokens} output tokens, limit {limit}")
        if len(self._waiting) >= self._waiting_max:
            raise QueueFullError(f"{self._waiting_max} jobs are waiting")
        matcher = self._new_matcher(job.constraint) if job.constraint else None
        self._waiting.append(SlotSequence(job, self._new_decoder(), matcher))

    def cancel(self, job_id: str) -> None:
        """End a job at the next step; unknown ids are ignored (it may just have finished)."""
        if any(sequence.job.id == job_id for sequence in self._all()):
            self._cancelled.add(job_id)

    def step(self) -> list[Event]:
        """Do one unit of work; return what happened, in order per job.

        Blocks for the runs of the model that read `prefill_chunk_tokens`, and for one that writes at most.
        """
        events = self._drop_ended()
        events += self._read_prompts()
        self._steps_since_token += 1
        if not self._can_read() or self._steps_since_token >= self._chunks_between_tokens:
            self._steps_since_token = 0
            events += self._write_tokens()
        return events

    def _in_slots(self) -> list[SlotSequence]:
        return [*([self._reading] if self._reading else []), *self._running]

    def _all(self) -> list[SlotSequence]:
        return [*self._waiting, *self._in_slots()]

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

    def _read_prompts(self) -> list[Event]:
        """Read a chunk's worth of tokens: of one long prompt, or several short ones in turn."""
        events: list[Event] = []
        left = self._chunk_tokens
        worth_it = max(CHUNK_TOKENS_MIN + 1, self._chunk_tokens // 2)  # a run costs nearly as much for a few tokens
        while left >= worth_it and self._take_up():
            read, told = self._read_chunk(left)
            events += told
            left -= read
        return events

    def _can_read(self) -> bool:
        """Whether a prompt is being read, or one waits and a slot will be free for it."""
        return self._reading is not None or bool(self._waiting and len(self._running) < self._model.slots)

    def _take_up(self) -> bool:
        """Have a prompt to read, if there is one."""
        if self._reading is None and self._can_read():
            self._reading = self._waiting.popleft()
            self._begin_with_head(self._reading)
        return self._reading is not None

    def _read_chunk(self, tokens_max: int) -> tuple[int, list[Event]]:
        """Read the next chunk of a prompt; a prompt read to its end takes a slot and yields the first token."""
        sequence = self._reading
        assert sequence is not None  # noqa: S101 - it was taken up
        prompt = sequence.job.prompt
        size = chunk_size(len(prompt) - sequence.length, tokens_max)
        logits = self._model.prefill(prompt[sequence.length : sequence.length + size], sequence.length)
        sequence.length += size
        if sequence.length < len(prompt):
            return size, []
        self._reading = None
        head = prompt[: sequence.job.head_tokens]
        self._heads.keep(head, lambda: self._model.copy_head(len(head)))
        self._model.settle(len(self._running), sequence.length)
        self._running.append(sequence)
        return size, self._advance(sequence, logits)

    def _begin_with_head(self, sequence: SlotSequence) -> None:
        """Take a kept head over where the prompt begins with it and enough is left to read."""
        prompt, length = sequence.job.prompt, sequence.job.head_tokens
        found = self._heads.find(prompt, length) if length + CHUNK_TOKENS_MIN <= len(prompt) else None
        if found:
            self._model.put_head(found[1])
            sequence.length = sequence.cached = len(found[0])

    def _write_tokens(self) -> list[Event]:
        """Add one token to every running sequence."""
        running = tuple(self._running)
        if not running:
            return []
        rows = self._model.decode([each.made[-1] for each in running], [each.length for each in running])
        for sequence in running:  # before any of them moves: what is copied is counted
            sequence.length += 1
        return [event for each, logits in zip(running, rows, strict=True) for event in self._advance(each, logits)]

    def _advance(self, sequence: SlotSequence, logits: Logits) -> list[Event]:
        """Add the next token to a running sequence, and end it where it ends."""
        text, reason = sequence.advance(logits, self._end_tokens)
        events: list[Event] = [Delta(sequence.job.id, text)] if text else []
        return events + self._finish(sequence, reason) if reason else events

    def _finish(self, sequence: SlotSequence, reason: FinishReason) -> list[Event]:
        """Take a sequence out, wherever it stands; the last running one moves into its slot."""
        job = sequence.job
        if sequence in self._running:
            self._vacate(self._running.index(sequence))
        elif sequence is self._reading:
            self._reading = None
        else:
            self._waiting.remove(sequence)
        rest = sequence.rest()
        read = min(sequence.length, len(job.prompt))
        finished = Finished(job.id, reason, read, len(sequence.made), sequence.cached)
        return [Delta(job.id, rest), finished] if rest else [finished]

    def _vacate(self, slot: int) -> None:
        last = self._running.pop()
        if slot < len(self._running):
            self._model.move(len(self._running), slot, last.length)
            self._running[slot] = last


def chunk_size(left: int, tokens_max: int) -> int:
    """Return how much of a prompt with `left` tokens to read next: up to `tokens_max`, never leaving one over."""
    size = min(left, tokens_max)
    return size - 1 if left - size == 1 else size


def _no_constraints(_constraint: Constraint) -> Matcher:
    raise BadConstraintError("this engine was opened without constraints")
