"""What the supervisor decides about processes and files."""

import asyncio
import signal

import pytest
from headrace_cli.supervisor.child import RestartPolicy, bound_log, last_lines
from headrace_cli.supervisor.generations import keep_up
from headrace_errors import Unavailable

QUICK = RestartPolicy(backoff_min_s=0.0, backoff_max_s=0.0, healthy_s=10, failures_max=3)


def test_the_wait_before_a_restart_doubles_up_to_its_bound():
    """A crash loop does not burn the machine."""
    policy = RestartPolicy(backoff_min_s=0.2, backoff_max_s=10)
    assert [policy.backoff_s(failures) for failures in (0, 1, 2, 3, 20)] == [0.2, 0.2, 0.4, 0.8, 10]


def test_an_end_counts_unless_it_came_after_health_or_from_outside():
    """A process that was killed, or that had worked for a while, is no crash loop."""
    policy = RestartPolicy(healthy_s=10)
    assert policy.counts(1, 9.9)
    assert not policy.counts(1, 10.0)
    assert not policy.counts(-signal.SIGKILL, 0.0)


class Generations:
    """Live for so many seconds and end with a status, or raise; `stopping` is set when there are none left."""

    def __init__(self, *ends: tuple[float, int] | Exception) -> None:
        self.ends, self.now, self.begun = list(ends), 0.0, 0
        self.stopping = asyncio.Event()

    async def live(self) -> int:
        self.begun += 1
        end = self.ends.pop(0)
        if not self.ends:
            self.stopping.set()
        if isinstance(end, Exception):
            raise end
        self.now += end[0]
        return end[1]

    async def keep_up(self) -> None:
        await keep_up(self.live, stopping=self.stopping, policy=QUICK, clock=lambda: self.now)


async def test_a_bus_that_ends_early_again_and_again_is_given_up():
    """Whether it crashes or a port is never free: the third in a row is the last."""
    generations = Generations((1, 1), (1, 3), (1, 1), (1, 1))
    with pytest.raises(Unavailable, match="3 generations"):
        await generations.keep_up()
    assert generations.begun == 3


async def test_a_bus_that_lived_or_was_killed_is_replaced_for_ever():
    """Only early ends in a row count."""
    generations = Generations((1, 1), (1, 1), (60, 1), (1, 1), (1, -signal.SIGKILL), (1, 1), (1, 1), (1, 0))
    generations.ends[-1:] = [(60, 0)]
    await generations.keep_up()
    assert generations.begun == 8


async def test_a_bus_that_does_not_start_is_tried_again_but_not_the_first_one():
    """The first is the caller's to mend; a later one may be a busy machine's."""
    with pytest.raises(Unavailable, match="no bus"):
        await Generations(Unavailable("no bus"), (60, 0)).keep_up()
    later = Generations((60, 1), Unavailable("no bus"), (60, 0))
    await later.keep_up()
    assert later.begun == 3


def test_a_log_is_bounded_while_its_writer_appends(tmp_path):
    """The file starts again at nothing, the older part is kept once, and no line goes elsewhere."""
    log = tmp_path / "service.log"
    with log.open("ab") as writer:
        writer.write(b"x" * 1000)
        writer.flush()
        bound_log(log, bytes_max=100)
        writer.write(b"after\n")
        writer.flush()
    assert log.read_bytes() == b"after\n"
    assert (tmp_path / "service.log.1").stat().st_size == 1000


def test_the_last_lines_of_a_log(tmp_path):
    """A missing log has none; a long one gives its end."""
    assert last_lines(tmp_path / "none.log") == []
    (tmp_path / "one.log").write_text("\n".join(str(number) for number in range(100)))
    assert last_lines(tmp_path / "one.log", 3) == ["97", "98", "99"]
