"""One to three replicas of a service on a real Kafka: whatever befalls them, nothing is lost and order per key is kept.

What an outsider counts: the handlers' own files, and the group's committed offsets, which must never go back.
"""

import asyncio
import signal
import time
from functools import partial

import pytest
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from bus_driving import ask, until
from group_driving import PLACES, TOPICS, Members, renew_topics
from headrace.topics import QUERY_REQUESTED
from headrace_messaging import Bus, Codec, Halted, Publisher, Subscriber, SubscriberOptions, Subscription
from headrace_messaging.backoff import Backoff, keep_trying

pytestmark = pytest.mark.timeout(600)  # a busy machine takes minutes for what a quiet one does in one

KEYS = 60
IN_FLIGHT = 32
DONE_IN_A_COMMIT_INTERVAL = 40  # 8 lanes, 10 ms each, 50 ms


@pytest.fixture
async def bus(native_kafka):
    """Name a real Kafka whose topic of questions is empty."""
    await renew_topics(native_kafka.bootstrap, TOPICS)
    return native_kafka


class Questions:
    """Published one after the other, some hundred a second, until enough is enough."""

    def __init__(self, bus):
        self._publisher = Publisher(bus, Codec(bus, None), client_id="asking")
        self._enough = asyncio.Event()
        self.published = 0

    async def __aenter__(self):
        await self._publisher.start()
        self._task = asyncio.create_task(self._publish())
        return self

    async def __aexit__(self, *_):
        await self.finish()
        await self._publisher.stop()

    async def finish(self):
        """Publish no more; return the numbers that were."""
        self._enough.set()
        await self._task
        return range(self.published)

    async def _publish(self):
        while not self._enough.is_set():
            question = ask(self.published, key=f"k{self.published % KEYS}")
            await keep_trying(partial(self._publisher.publish, question), backoff=Backoff(10, 200))
            self.published += 1
            await asyncio.sleep(0.002)


async def finish(members, questions, duplicates_max):
    """Assert what holds after every fault."""
    numbers = await questions.finish()
    await members.until_idle(numbers)
    assert members.handled() == set(numbers)
    members.assert_order()
    members.assert_commits_never_go_back()
    assert members.duplicates() <= duplicates_max


async def more(members, name, count=100):
    """Wait until a replica has handled that many more."""
    before = len(members.deliveries(name))
    await members.until(lambda: len(members.deliveries(name)) >= before + count)


async def test_scaling_out_to_three_and_back_loses_nothing(bus, tmp_path):
    """Each newcomer gets a share while work goes on; who leaves gives its share back. Little is done twice."""
    async with Members(bus.bootstrap, tmp_path) as members, Questions(bus) as questions:
        one = await members.start("one")
        await more(members, "one")
        two = await members.start("two")
        await more(members, "two")
        three = await members.start("three")
        await more(members, "three")
        await two.stop()
        await more(members, "three")
        await three.stop()
        await more(members, "one")
        # Four revocations, each with at most what was in flight at the members.
        await finish(members, questions, duplicates_max=7 * IN_FLIGHT)
        await one.stop()


async def test_a_rolling_restart_loses_nothing(bus, tmp_path):
    """Two replicas with names of their own restart one after the other; a name that comes back moves no partition."""
    async with Members(bus.bootstrap, tmp_path) as members, Questions(bus) as questions:
        running = {name: await members.start(name, group_instance_id=name) for name in ("one", "two")}
        for name in running:
            await more(members, name)
        for name, member in running.items():
            await member.stop()
            await members.start(name, group_instance_id=name)
            await more(members, name)
        await finish(members, questions, duplicates_max=4 * IN_FLIGHT)


async def test_kill_9_of_one_of_three_loses_nothing(bus, tmp_path):
    """Its share goes to the others; done twice is at most what it had in flight or had not committed."""
    async with Members(bus.bootstrap, tmp_path) as members, Questions(bus) as questions:
        _, two, _ = [await members.start(name) for name in ("one", "two", "three")]
        for name in ("one", "two", "three"):
            await more(members, name)
        await two.kill()
        await more(members, "one")
        await more(members, "three")
        await members.start("two")
        await more(members, "two")
        await finish(members, questions, duplicates_max=6 * IN_FLIGHT + DONE_IN_A_COMMIT_INTERVAL)


async def test_a_zombie_changes_nothing(bus, tmp_path):
    """A replica held past its session comes back: its commit is refused, and it goes on with what it is then given."""
    async with Members(bus.bootstrap, tmp_path) as members, Questions(bus) as questions:
        _, two = [await members.start(name) for name in ("one", "two")]
        for name in ("one", "two"):
            await more(members, name)
        two.signal(signal.SIGSTOP)
        held_at, before = time.monotonic(), len(members.deliveries("two"))
        await members.until(lambda: members.partitions("one") == {0, 1, 2, 3})
        assert time.monotonic() - held_at > 4  # its session had to end first
        await more(members, "one", 300)
        two.signal(signal.SIGCONT)
        await members.until(lambda: len(members.deliveries("two")) >= before + 100)
        await finish(members, questions, duplicates_max=4 * IN_FLIGHT + DONE_IN_A_COMMIT_INTERVAL)
        assert two.process.returncode is None


async def test_an_outage_breaks_no_order_while_replicas_are_killed_and_join(bus, tmp_path):
    """What fails waits on retry topics, and what comes later under its key with it; whoever owns them next knows."""
    async with Members(bus.bootstrap, tmp_path) as members, Questions(bus) as questions:
        _, two = [await members.start(name) for name in ("one", "two")]
        for name in ("one", "two"):
            await more(members, name)
        end_outage = members.outage()
        await members.until(lambda: sum(how == "failed" for *_, how in members.deliveries()) > 30)
        await two.kill()
        await members.start("three")
        await more(members, "three")
        end_outage()
        await members.start("two")
        await more(members, "two")
        await finish(members, questions, duplicates_max=6 * IN_FLIGHT + DONE_IN_A_COMMIT_INTERVAL)


async def test_the_loss_of_the_coordinator_loses_nothing(own_server, tmp_path):
    """The broker that coordinates the group is killed while work goes on: another one takes over."""
    kafka = own_server("kafka3")
    bus = Bus(kafka.address)
    await renew_topics(bus.bootstrap, TOPICS, replicas=3)
    async with Members(bus.bootstrap, tmp_path) as members, Questions(bus) as questions:
        for name in ("one", "two"):
            await members.start(name)
        for name in ("one", "two"):
            await more(members, name)
        broker = kafka.processes[await members.coordinator() - 1]
        await asyncio.to_thread(broker.kill)
        for name in ("one", "two"):
            await more(members, name, 200)
        broker.start()
        await more(members, "one", 200)
        await finish(members, questions, duplicates_max=4 * IN_FLIGHT + DONE_IN_A_COMMIT_INTERVAL)
        assert all(member.process.returncode is None for member in members.running)


async def test_retention_that_overtakes_the_lag_is_a_loss_and_never_a_jump(bus):
    """Records deleted before they were read halt the group, at a start and under way; nothing is read past them."""
    codec = Codec(bus, None)
    publisher = Publisher(bus, codec, client_id="asking")
    await publisher.start()
    handled = []

    async def handle(event):
        handled.append(int(event.payload.question))
        return ()

    def subscriber():
        subscription = Subscription(QUERY_REQUESTED, handle, handle)
        options = SubscriberOptions(commit_interval_ms=20)
        return Subscriber(bus, [subscription], group="moderate", publisher=publisher, codec=codec, options=options)

    first = subscriber()
    running = asyncio.create_task(first.run())
    # One partition has a question, the others none: they too remember where they began.
    await publisher.publish(ask(0, key="k0"))
    await until(lambda: handled == [0] and sum(first.lag().values()) == 0)
    first.stop()
    await running
    await publisher.publish(*(ask(number, key=f"k{number}") for number in range(1, 200)))
    admin = AIOKafkaAdminClient(bootstrap_servers=bus.bootstrap)
    await admin.start()
    await admin.delete_records({place: RecordsToDelete(before_offset=3) for place in PLACES})
    await admin.close()
    for _ in range(2):  # it does not go away by itself
        with pytest.raises(Halted, match="gone from the bus"):
            await subscriber().run()
    assert handled == [0]
    await publisher.stop()
