"""Many lines at once: bounded, in order, and taken up again."""

import asyncio

from headrace_cli.batches import Batch, RunFile


async def test_results_come_in_input_order_with_bounded_concurrency():
    """The slow one first holds back the others' output, not their work, and only so many at a time."""
    running, most = 0, 0

    async def one(number: int, line: str) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(50 if number == 0 else 1):
            await asyncio.sleep(0)
        running -= 1
        return f"{number}:{line}"

    lines = [f"line {number}" for number in range(40)]
    results = [result async for result in Batch(one, concurrency=5).run(lines)]
    assert results == [f"{number}:line {number}" for number in range(40)]
    assert most == 5


def test_an_interrupted_run_goes_on_with_the_same_keys(tmp_path):
    """The same lines of the same tenant find their run; a finished run is a new one next time."""
    first = RunFile.open(tmp_path, ["a", "b"], "default", "", {})
    again = RunFile.open(tmp_path, ["a", "b"], "default", "", {})
    assert [first.key(0), first.key(1)] == [again.key(0), again.key(1)]
    other = RunFile.open(tmp_path, ["a", "b"], "acme", "", {})
    assert other.key(0) != first.key(0)
    again.finish()
    assert RunFile.open(tmp_path, ["a", "b"], "default", "", {}).key(0) != first.key(0)
