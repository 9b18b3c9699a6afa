"""Sharing commits among callers."""

import asyncio

import pytest
from headrace_retrieve.adapters.group_commit import GroupCommit


class Log:
    """A commit that can be held, that answers each item with its double, and that fails on request."""

    def __init__(self):
        self.groups = []
        self.open = asyncio.Event()
        self.open.set()

    async def commit(self, items):
        self.groups.append(list(items))
        await self.open.wait()
        if "bad" in items:
            raise OSError("disk full")
        return [item * 2 for item in items]


@pytest.fixture
def log():
    """Return a fresh log."""
    return Log()


def grouped(log, size_max=100):
    """Build a group commit on the log, in which an item's size is its length."""
    return GroupCommit(log.commit, size_of=len, size_max=size_max)


async def submit_while_busy(commits, log, *items):
    """Submit items while another commit runs, then let it go."""
    log.open.clear()
    first = asyncio.create_task(commits.submit("first"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks = [asyncio.create_task(commits.submit(item)) for item in items]
    await asyncio.sleep(0)
    return first, tasks


async def test_a_lone_caller_commits_at_once(log):
    """Nobody waits for company."""
    assert await grouped(log).submit("a") == "aa"
    assert log.groups == [["a"]]


async def test_what_waits_while_a_commit_runs_shares_the_next(log):
    """In the order of its arrival."""
    commits = grouped(log)
    first, tasks = await submit_while_busy(commits, log, "a", "b", "c")
    log.open.set()
    assert await asyncio.gather(first, *tasks) == ["firstfirst", "aa", "bb", "cc"]
    assert log.groups == [["first"], ["a", "b", "c"]]


async def test_a_group_is_bounded_by_size_unless_one_item_is_larger(log):
    """The larger one goes alone."""
    commits = grouped(log, size_max=4)
    first, tasks = await submit_while_busy(commits, log, "aa", "bb", "cccccc", "d")
    log.open.set()
    await asyncio.gather(first, *tasks)
    assert log.groups[1:] == [["aa", "bb"], ["cccccc"], ["d"]]


async def test_an_error_reaches_its_group_and_no_other(log):
    """Later groups are committed all the same."""
    commits = grouped(log, size_max=4)
    first, tasks = await submit_while_busy(commits, log, "bad", "x", "good")
    log.open.set()
    results = await asyncio.gather(first, *tasks, return_exceptions=True)
    assert [type(one) for one in results] == [str, OSError, OSError, str]


async def test_a_cancelled_caller_takes_its_waiting_item_along_and_stops_no_commit(log):
    """What has begun goes on to its end."""
    commits = grouped(log)
    first, (waiting, kept) = await submit_while_busy(commits, log, "gone", "kept")
    first.cancel()
    waiting.cancel()
    await asyncio.sleep(0)
    log.open.set()
    assert await kept == "keptkept"
    await commits.idle()
    assert log.groups == [["first"], ["kept"]]
