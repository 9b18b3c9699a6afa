"""The event loop's lag is what a sleep took beyond what was asked."""

import pytest
from headrace_generate.loop_lag import watch_loop


async def test_what_holds_the_loop_up_is_told():
    """On time, half a second late, and never less than nothing."""
    now, late, told = [100.0], iter([0.0, 0.5, -0.01]), []

    async def sleep(seconds: float) -> None:
        now[0] += seconds + next(late)

    with pytest.raises(RuntimeError):  # the fake's end
        await watch_loop(told.append, clock=lambda: now[0], sleep=sleep, interval_s=0.05)
    assert told == pytest.approx([0.0, 0.5, 0.0])
