"""The library is measured as the services use it, on topics of its own that differ in their partitions alone."""

import pytest
from bench.bus.cases import HOPS, Setup
from bench.bus.chains import LIBRARY_TOPICS, TOPICS, _services
from bench.bus.slate import wanted_by
from headrace.topics import derived
from headrace_messaging import Bus, Codec, Publisher
from headrace_runtime import Chassis, KafkaSettings, Tenants
from headrace_runtime.subscribers import Subscribers


def test_the_library_subscribes_as_the_services_do():
    """Lanes, limits and retry topics are those that the runtime makes of each service's settings; nothing is ours."""
    kafka = KafkaSettings(bootstrap="127.0.0.1:1", mode="group")
    bus = Bus(kafka.bootstrap)
    codec = Codec(bus, None)
    publisher = Publisher(bus, codec, client_id="test")
    lanes = {}
    for settings, service in _services(kafka):
        chassis = Chassis(settings, bus, codec, publisher, None, Tenants.load())
        (subscriber,) = Subscribers.of(service, chassis, "0").members
        lanes[settings.service] = subscriber._options.lanes
        assert subscriber._options.in_flight_max == kafka.in_flight_max
        assert subscriber._options.retries.delays_ms == derived().retry_delays_ms
    assert lanes == {"moderate": kafka.lanes, "retrieve": kafka.in_flight_max, "generate": kafka.lanes}


def test_every_chain_has_as_many_hops():
    """One more topic than hops, each chain its own."""
    assert {len(names) for names in TOPICS.values()} == {HOPS + 1}
    assert len({name for names in TOPICS.values() for name in names}) == 3 * (HOPS + 1)


@pytest.mark.parametrize("partitions", [1, 8])
def test_topics_have_the_partitions_of_their_setup(partitions):
    """A declared topic comes with its retries and dead letters, which need as many; the platform makes its own."""
    names = {each.name: each.partitions for each in wanted_by(Setup("library", partitions))}
    assert set(names.values()) == {partitions}
    assert set(LIBRARY_TOPICS) < set(names)
    assert any(name.endswith("moderate.dlq") for name in names)
    assert {each.name for each in wanted_by(Setup("bare", partitions))} == set(TOPICS["bare"])
    assert wanted_by(Setup("platform")) == []
