"""One replica at a time: a lease that compares no clocks, on either database."""

import pytest
from headrace_messaging.outbox.lease import Lease, LeaseTimes, lease_table
from sqlalchemy import MetaData

METADATA = MetaData()
LEASES = lease_table(METADATA)
TIMES = LeaseTimes(beat_ms=1_000, silent_max_ms=4_000)


class Clock:
    """A replica's own clock, which only the test moves."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture(params=["sqlite", "postgresql"])
async def replica(request, databases):
    """Make replicas with a lease each and a clock each; no two clocks agree."""
    database = await databases.open(request.param, METADATA)
    made = []

    def make(owner):
        clock = Clock(1_000.0 * (1 + len(made)))
        made.append(owner)
        return Lease(database, LEASES, "outbox", owner=owner, times=TIMES, clock=clock), clock

    return make


async def test_one_has_it_and_others_wait(replica):
    """It stays with its owner as long as the owner's beat goes on."""
    (one, own), (two, others) = replica("one"), replica("two")
    assert await one.take()
    for _ in range(10):
        assert not await two.take()
        own.now, others.now = own.now + 1, others.now + 1
        assert await one.keep()


async def test_a_silent_owner_loses_it_and_is_told(replica):
    """The other takes over once the beat has stood still for long enough by its own clock, and no sooner."""
    (one, own), (two, others) = replica("one"), replica("two")
    await one.take()
    assert not await two.take()
    others.now += 3.9
    assert not await two.take()
    others.now += 0.1
    assert await two.take()
    own.now += 1
    assert not await one.keep()
    assert not await one.take()


async def test_an_owner_that_starts_again_goes_on_at_once(replica):
    """After a kill it need not wait for itself."""
    (before, _), (after, _) = replica("one"), replica("one")
    await before.take()
    assert await after.take()


async def test_what_is_released_is_free(replica):
    """A graceful stop hands it over at once; a release of what another has changes nothing."""
    (one, own), (two, _) = replica("one"), replica("two")
    await one.take()
    await two.release()
    own.now += 1
    assert await one.keep()
    await one.release()
    assert await two.take()


async def test_the_owner_knows_whether_others_wait(replica):
    """Then rows come from them, too, and it has to look for them."""
    (one, own), (two, _) = replica("one"), replica("two")
    await one.take()
    own.now += 1
    await one.keep()
    assert not one.contended
    await two.take()
    own.now += 1
    await one.keep()
    assert one.contended
    for _ in range(5):
        own.now += 1
        await one.keep()
    assert not one.contended
