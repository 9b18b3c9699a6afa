"""The queue in front of onnxruntime-genai, over turns that are told what to say: want of room, failures, ends."""

from collections.abc import Callable, Sequence

import pytest
from headrace_inference.constraint import BadConstraintError, Constraint
from headrace_inference.genai_engine import STANDSTILLS_MAX, EngineFailed, GenaiEngine, TurnEvent, TurnRefused
from headrace_inference.slot_jobs import Delta, Event, Finished, Job
from hypothesis import given
from hypothesis import strategies as st

OUTPUT = 4


class ScriptedTurns:
    """Counts upwards in every turn for which there is room, `room` of them, the earliest first; a turn ends by itself.

    A prompt of `READS` tokens takes runs of which nothing is told, as a prompt that is read in parts does.
    """

    turns_max = 3
    READS = 9

    def __init__(self, room: int = 3) -> None:
        self.room, self.begun = room, 0
        self.jobs: dict[int, Job] = {}
        self.made: dict[int, int] = {}
        self.broken = False

    def check(self, job: Job) -> None:
        if job.id == "refused":
            raise BadConstraintError("no")

    def begin(self, job: Job) -> int:
        if job.id == "late":
            raise TurnRefused("no, after all")
        assert len(self.jobs) < self.turns_max
        self.begun += 1
        self.jobs[self.begun], self.made[self.begun] = job, -3 if len(job.prompt) == self.READS else 0
        return self.begun

    def close(self, turn: int) -> None:
        del self.jobs[turn]

    def run(self) -> Sequence[TurnEvent]:
        if self.broken:
            raise EngineFailed("gone")
        told = []
        for place, (turn, job) in enumerate(sorted(self.jobs.items())):
            if place >= self.room:
                told.append(TurnEvent(turn, moved=False))
                continue
            self.made[turn] += 1
            if self.made[turn] > 0:
                told.append(TurnEvent(turn, self.made[turn], "length" if self.made[turn] >= job.max_tokens else None))
        return told


def make_engine(turns: ScriptedTurns, clock: Callable[[], float] = lambda: 0.0) -> GenaiEngine:
    return GenaiEngine(turns, lambda: lambda token: f"{token} ", tokens_max=32, clock=clock, waiting_max=100)


def run(engine: GenaiEngine, steps_max: int = 200) -> dict[str, list[Event]]:
    told: dict[str, list[Event]] = {}
    for _ in range(steps_max):
        if not engine.busy:
            return told
        for event in engine.step():
            told.setdefault(event.id, []).append(event)
    raise AssertionError("the engine does not come to an end")


def reasons(told: dict[str, list[Event]]) -> dict[str, str]:
    return {job_id: events[-1].reason for job_id, events in told.items() if isinstance(events[-1], Finished)}


def test_whoever_stands_for_want_of_room_goes_on_when_another_has_ended():
    """Nobody is lost, and nothing more is begun meanwhile."""
    turns = ScriptedTurns(room=1)
    engine = make_engine(turns)
    for at in range(3):
        engine.submit(Job(str(at), (1, 2), OUTPUT))
    engine.step()
    turns.turns_max = 4  # a turn more may be begun, but there is no room for those that were
    engine.submit(Job("more", (1,), OUTPUT))
    engine.step()
    assert (len(turns.jobs), engine.use().waiting) == (3, 1)
    assert reasons(run(engine)) == dict.fromkeys(("0", "1", "2", "more"), "length")


def test_what_does_not_fit_at_all_is_ended_and_not_waited_for():
    """There is room for nobody: each ends after some runs, with a reason that says what was missing."""
    engine = make_engine(ScriptedTurns(room=0))
    for at in range(4):
        engine.submit(Job(str(at), (1, 2), OUTPUT))
    told = run(engine)
    assert set(reasons(told).values()) == {"capacity"}
    assert all(events[-1] == Finished(job_id, "capacity", 2, 0) for job_id, events in told.items())


def test_runs_of_which_nothing_is_told_are_no_standstill():
    """A long prompt is read beside one that stands: it is given its time."""
    engine = make_engine(ScriptedTurns(room=1))
    engine.submit(Job("long", (1,) * ScriptedTurns.READS, OUTPUT))
    engine.submit(Job("stands", (1,), OUTPUT))
    assert STANDSTILLS_MAX <= 3
    assert reasons(run(engine)) == {"long": "length", "stands": "length"}


def test_an_engine_that_gave_up_is_not_asked_again():
    """The process ends with it; its attempts are unknown, as after any crash."""
    turns = ScriptedTurns()
    engine = make_engine(turns)
    engine.submit(Job("a", (1,), OUTPUT))
    turns.broken = True
    with pytest.raises(EngineFailed):
        engine.step()


def test_a_constraint_that_the_package_refuses_ends_its_job_alone():
    """At once where it can be told, else when its turn begins."""
    engine = make_engine(ScriptedTurns())
    with pytest.raises(BadConstraintError):
        engine.submit(Job("refused", (1,), OUTPUT))
    engine.submit(Job("late", (1,), OUTPUT, constraint=Constraint("regex", "a")))
    engine.submit(Job("a", (1,), OUTPUT))
    assert reasons(run(engine)) == {"late": "constraint_failed", "a": "length"}
    engine.submit(Job("late", (1,), OUTPUT))
    assert reasons(run(engine)) == {"late": "failed"}


def test_a_failed_turn_says_so_and_what_it_had_made():
    """Its text until then is delivered before the end."""

    class Failing(ScriptedTurns):
        def run(self) -> Sequence[TurnEvent]:
            return [TurnEvent(turn, 7, "failed", cached_tokens=1) for turn in self.jobs]

    engine = make_engine(Failing())
    engine.submit(Job("a", (1, 2), OUTPUT, stops=("7 x",)))
    assert run(engine)["a"] == [Delta("a", "7 "), Finished("a", "failed", 2, 1, 1)]


@given(
    room=st.integers(0, 3),
    jobs=st.lists(st.tuples(st.integers(1, ScriptedTurns.READS), st.integers(1, 8), st.integers(0, 40)), max_size=12),
    cancelled=st.sets(st.integers(0, 11)),
)
def test_every_job_ends_once_whatever_happens(room, jobs, cancelled):
    """With any room, any lengths, deadlines and cancellations: one end each, the last event, and nothing left over."""
    now = 0.0
    turns = ScriptedTurns(room)
    engine = make_engine(turns, lambda: now)
    told: dict[str, list[Event]] = {}
    for at, (length, output, deadline) in enumerate(jobs):
        engine.submit(Job(str(at), (1,) * length, output, deadline_s=float(deadline)))
    for at in cancelled:
        engine.cancel(str(at))
    while engine.busy:
        now += 1
        for event in engine.step():
            told.setdefault(event.id, []).append(event)
        use = engine.use()
        assert use.slots <= use.slots_max
        assert use.tokens <= use.tokens_reserved
    assert set(told) == {str(at) for at in range(len(jobs))}
    for events in told.values():
        assert [isinstance(event, Finished) for event in events] == [False] * (len(events) - 1) + [True]
    assert not turns.jobs
