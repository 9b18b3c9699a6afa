"""One embedded cluster: its brokers are threads of this process and listen on loopback ports of the system's choice.

Which topics exist and who may use the bus is the caller's matter.
"""

from __future__ import annotations

import ctypes
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

from headrace_devbroker.native import library

_PRODUCER = 0  # rd_kafka_type_t: the handle that a mock cluster hangs on
_ERROR_BYTES = 512
_KNOCK_INTERVAL_S = 0.005
_SETTINGS = {
    # Errors only: the handle would warn that it, a client by trade, has no servers configured.
    b"log_level": b"3",
    # A request over this closes its connection. A partition keeps 5 MiB: a larger record would push out the ones before
    # it and, by a fault in librdkafka 2.16, the next one as well. The other two have to be smaller than the third.
    b"receive.message.max.bytes": b"4500000",
    b"fetch.max.bytes": b"1000000",
    b"message.max.bytes": b"1000000",
}


class EmbeddedCluster:
    """An ephemeral Kafka cluster inside this process, up as soon as it is constructed. `close` stops its threads.

    Brokers are numbered from 1. The faults (`set_down`, `push_errors`, `set_rtt`) are for tests of what meets them.
    """

    def __init__(self, brokers: int = 1) -> None:
        self._lib = library()
        self._brokers = brokers
        reason = ctypes.create_string_buffer(_ERROR_BYTES)
        settings = self._lib.rd_kafka_conf_new()
        for name, value in _SETTINGS.items():
            self._lib.rd_kafka_conf_set(settings, name, value, reason, _ERROR_BYTES)
        self._handle = self._lib.rd_kafka_new(_PRODUCER, settings, reason, _ERROR_BYTES)
        if not self._handle:
            raise RuntimeError(f"librdkafka gives no handle: {reason.value.decode()}")
        self._cluster = self._lib.rd_kafka_mock_cluster_new(self._handle, brokers)
        if not self._cluster:
            self._lib.rd_kafka_destroy(self._handle)
            raise RuntimeError("librdkafka gives no mock cluster")
        # Nobody else joins later: waiting for further members would only delay the first assignment.
        self._lib.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)

    @property
    def bootstrap(self) -> str:
        """The bootstrap servers, `host:port` separated by commas."""
        servers: bytes = self._lib.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return servers.decode()

    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic, replicated to every broker."""
        self._control("topic_create", name.encode(), partitions, self._brokers)

    def set_down(self, broker: int = 1) -> None:
        """Close the broker's connections and refuse new ones until `set_up`."""
        self._control("broker_set_down", broker)

    def set_up(self, broker: int = 1) -> None:
        """Let the broker take connections again; its log is as it was."""
        self._control("broker_set_up", broker)

    def set_rtt(self, rtt_ms: int, broker: int = 1) -> None:
        """Delay every answer of the broker by `rtt_ms`."""
        self._control("broker_set_rtt", broker, rtt_ms)

    def push_errors(self, api: int, *codes: int) -> None:
        """Answer the next requests of the Kafka API key `api` with these error codes, one each."""
        array = (ctypes.c_int * len(codes))(*codes)
        self._lib.rd_kafka_mock_push_request_errors_array(self._cluster, api, len(codes), array)

    def clear_errors(self, api: int) -> None:
        """Forget what `push_errors` queued for `api`."""
        self._lib.rd_kafka_mock_clear_request_errors(self._cluster, api)

    def close(self) -> None:
        """Stop the brokers; everything they held is gone. Idempotent."""
        if self._cluster:
            self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
            self._lib.rd_kafka_destroy(self._handle)
            self._cluster = self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _control(self, name: str, *arguments: bytes | int) -> None:
        with self._kept_awake():
            code = getattr(self._lib, f"rd_kafka_mock_{name}")(self._cluster, *arguments)
        if code != 0:
            raise RuntimeError(f"the embedded bus refused {name}{arguments}: librdkafka error {code}")

    @contextmanager
    def _kept_awake(self) -> Iterator[None]:
        """Knock at the brokers until the block ends.

        Every eighth or so control call misses librdkafka's wake-up and lasts until the cluster's thread polls again, a
        second later (measured on 2.16): creating our topics took four seconds instead of 20 ms. A connection wakes it.
        """
        done = threading.Event()
        knocker = threading.Thread(target=self._knock, args=(done,), daemon=True)
        knocker.start()
        try:
            yield
        finally:
            done.set()
            knocker.join()

    def _knock(self, done: threading.Event) -> None:
        host, _, port = self.bootstrap.split(",")[0].rpartition(":")
        while not done.wait(_KNOCK_INTERVAL_S):
            with suppress(OSError):  # a broker that is down refuses
                socket.create_connection((host, int(port)), timeout=_KNOCK_INTERVAL_S).close()
