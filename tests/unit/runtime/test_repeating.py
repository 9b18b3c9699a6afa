"""What a service does again and again: an outage delays it, anything else ends the service."""

import pytest
from headrace_errors import Unavailable
from headrace_runtime import regularly


class Job:
    """Does what it is told, turn by turn; a turn beyond that is a bug."""

    def __init__(self, *answers):
        self.answers, self.turns = list(answers), 0

    async def __call__(self):
        self.turns += 1
        if error := self.answers.pop(0):
            raise error


async def test_a_job_is_done_at_once_and_again_whatever_was_away():
    """An outage costs its turn, and no later one."""
    job = Job(None, Unavailable("the database is away"), None, KeyError("a bug"))
    with pytest.raises(KeyError):
        await regularly(job, interval_s=0, missed="job.waiting")
    assert job.turns == 4
