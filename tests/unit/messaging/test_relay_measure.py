"""How many rows wait in an outbox is shown whether or not they can be relayed."""

import asyncio
from contextlib import suppress

import pytest
from headrace_errors import Unavailable
from headrace_messaging.outbox.relay import Relay, RelayOptions


class Store:
    """An outbox whose database answers with these, then never again."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)

    async def pending(self) -> int:
        if not self.answers:
            raise asyncio.CancelledError
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("answers", "shown"), [((3, 900), [3, 900]), ((7, Unavailable("the database restarts"), 9), [7, 9])]
)
async def test_it_is_measured_apart_from_relaying(answers, shown):
    """No carrier runs here, and the numbers go on; a database that is down is asked again."""
    told = []
    relay = Relay(Store(*answers), carrier=None, options=RelayOptions(measure_interval_ms=0))
    with suppress(asyncio.CancelledError):
        await relay.measure(told.append)
    assert told == shown
