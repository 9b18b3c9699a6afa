"""A queue in front of onnxruntime-genai's Engine: admission, text, stop strings, deadlines, and the end of every job.

Which tokens come next, and which turns share a run, is the package's matter; it is behind `Turns` (see genai_turns). A
job that ends, for whatever reason, is closed there at once, so a cancellation or a deadline takes effect within one
step. Turns may be told that there is no room for them now: nothing more is begun then until one has ended.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

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
from headrace_inference.stop_text import StopText

STANDSTILLS_MAX = 3  # runs in a row that move nobody: more of them would be the same


class EngineFailed(Exception):
    """The package's engine is of no further use; its process has to be started anew."""


class TurnRefused(Exception):
    """The package does not begin this turn; others are none the worse for it."""


@dataclass(frozen=True)
class TurnEvent:
    """What a run says of a turn: a token, its end, or that it could not move. `turn` is what `begin` returned.

    `computed_unseen` counts a token that was made and is not told (an end token), `cached_tokens` those of the prompt
    that were not computed. `moved` is False where nothing came of the run for this turn, or any if `turn` is None.
    """

    turn: int | None
    token: int | None = None
    ended: FinishReason | None = None
    computed_unseen: int = 0
    cached_tokens: int = 0
    moved: bool = True


class Turns(Protocol):
    """One prompt and its output each, run together."""

    @property
    def turns_max(self) -> int:
        """How many may be begun at once."""

    def check(self, job: Job) -> None:
        """Refuse what cannot be done: BadConstraintError, or ValueError for a sampling. Says why."""

    def begin(self, job: Job) -> int:
        """Begin a turn; return its number, higher than those before. Raises TurnRefused."""

    def close(self, turn: int) -> None:
        """Forget a turn and free its memory, whether it has ended or not."""

    def run(self) -> Sequence[TurnEvent]:
        """Run what was begun by a step. Blocks; raises EngineFailed when nothing can run any more."""


@dataclass(eq=False)
class _Running:
    job: Job
    decode: Callable[[int], str]
    text: StopText
    made: int = 0
    cached: int = 0


class GenaiEngine:
    """The queue. `new_decoder` gives a function from token ids, one by one, to the text that each completes.

    `tokens_max` bounds a job's prompt and output together; `waiting_max` jobs may wait for their turn.
    """

    def __init__(
        self,
        turns: Turns,
        new_decoder: Callable[[], Callable[[int], str]],
        *,
        tokens_max: int,
        clock: Callable[[], float],
        waiting_max: int = 64,
    ) -> None:
        self._turns, self._new_decoder, self._clock = turns, new_decoder, clock
        self._tokens_max, self._waiting_max = tokens_max, waiting_max
        self._waiting: deque[Job] = deque()
        self._running: dict[int, _Running] = {}
        self._cancelled: set[str] = set()
        self._stuck: set[int] = set()
        self._standstills = 0

    @property
    def busy(self) -> bool:
        """Whether a step has anything to do."""
        return bool(self._waiting or self._running)

    def use(self) -> KvUse:
        """Return what is taken of the memory now, as far as jobs tell: the package does not."""
        jobs = [running.job for running in self._running.values()]
        return KvUse(
            slots=len(jobs),
            slots_max=self._turns.turns_max,
            tokens=sum(len(each.job.prompt) + each.made for each in self._running.values()),
            tokens_reserved=sum(job.kv_tokens for job in jobs),
            tokens_max=self._turns.turns_max * self._tokens_max,
            head_tokens=0,
            waiting=len(self._waiting),
        )

    def submit(self, job: Job) -> None:
        """Queue a job. Raises PromptTooLongError, QueueFullError, BadConstraintError, or ValueError for a sampling."""
        if not job.prompt or job.max_tokens < 1 or job.kv_tokens > self._tokens_max:
            limit = self._tokens_max
            raise PromptTooLongError(f"{len(job.prompt)} prompt + {job.max_tokens} output tokens, limit {limit}")
        if len(self._waiting) >= self._waiting_max:
            raise QueueFullError(f"{self._waiting_max} jobs are waiting")
        self._turns.check(job)
        self._waiting.append(job)

    def cancel(self, job_id: str) -> None:
        """End a job at the next step; unknown ids are ignored (it may just have finished)."""
        running = (each.job for each in self._running.values())
        if any(job.id == job_id for job in (*self._waiting, *running)):
            self._cancelled.add(job_id)

    def step(self) -> list[Event]:
        """End what is over, begin what there is room for, and run what was begun by one step of the package."""
        events = self._drop_ended()
        events += self._begin()
        if not self._running:
            return events
        told = self._turns.run()
        for event in told:
            events += self._take(event)
        events += self._without_room(told)
        return events

    def _drop_ended(self) -> list[Event]:
        """End what was cancelled or is too late, wherever it stands."""
        now = self._clock()
        events: list[Event] = []
        for job in list(self._waiting):
            if reason := self._over(job, now):
                self._waiting.remove(job)
                events.append(Finished(job.id, reason, 0, 0))
        for turn, running in list(self._running.items()):
            if reason := self._over(running.job, now):
                events += self._finish(turn, reason)
        self._cancelled.clear()
        return events

    def _over(self, job: Job, now: float) -> FinishReason | None:
        if job.id in self._cancelled:
            return "cancelled"
        return "expired" if job.deadline_s <= now else None

    def _begin(self) -> list[Event]:
        """Begin turns in the order of their jobs, while none stands for want of room."""
        events: list[Event] = []
        while self._waiting and len(self._running) < self._turns.turns_max and not self._stuck:
            job = self._waiting.popleft()
            try:
                turn = self._turns.begin(job)
            except TurnRefused:  # the package reads fewer constraints than `check` does
                reason: FinishReason = "constraint_failed" if job.constraint else "failed"
                events.append(Finished(job.id, reason, 0, 0))
            else:
                self._running[turn] = _Running(job, self._new_decoder(), StopText(job.stops))
        return events

    def _take(self, event: TurnEvent) -> list[Event]:
        """Tell of one event; what still comes of a turn that was closed is dropped."""
        running = None if event.turn is None else self._running.get(event.turn)
        if event.turn is None or running is None:
            return []
        if not event.moved:
            self._stuck.add(event.turn)
            return []
        self._stuck.discard(event.turn)
        running.made += event.computed_unseen
        running.cached = event.cached_tokens or running.cached
        told: list[Event] = []
        if event.token is not None:
            running.made += 1
            text = running.text.feed(running.decode(event.token))
            told += [Delta(running.job.id, text)] if text else []
        if running.text.stopped:
            return told + self._finish(event.turn, "stop")
        return told + self._finish(event.turn, event.ended) if event.ended else told

    def _finish(self, turn: int, reason: FinishReason) -> list[Event]:
        """Close a turn; whatever stood for want of room may try again."""
        running = self._running.pop(turn)
        self._turns.close(turn)
        self._stuck.clear()
        self._standstills = 0
        job, rest = running.job, running.text.rest()
        finished = Finished(job.id, reason, len(job.prompt), running.made, running.cached)
        return [Delta(job.id, rest), finished] if rest else [finished]

    def _without_room(self, told: Sequence[TurnEvent]) -> list[Event]:
        """Count runs that moved nobody. After some, end the turn that began last: it does not fit beside the others."""
        unmoved = {event.turn for event in told if not event.moved}
        others_read = None not in unmoved and not unmoved.issuperset(self._running)  # of which nothing is told
        if not unmoved or others_read or any(event.moved for event in told):
            self._standstills = 0
            return []
        self._standstills += 1
        if self._standstills < STANDSTILLS_MAX:
            return []
        return self._finish(max(self._running), "capacity")
