"""A producer that checks nothing: it writes the batches that our clients and aiokafka's would refuse to write."""

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy


class Named(str):
    """A header's name with bytes of its own, as many as it has characters."""

    __slots__ = ("content",)

    def __new__(cls, content):
        """Make the name of these bytes."""
        name = super().__new__(cls, "?" * len(content))
        name.content = content
        return name

    def encode(self, *_):
        """Return the bytes, whatever encoding is asked for."""
        return self.content


async def send_batch(bootstrap, topic, partition, records, *, timestamp_ms=None, spoil=bytes):
    """Send key, value and headers of each record in one batch; `spoil` changes the bytes of the whole batch."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        batch = producer.create_batch()
        batch._builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, 0, 1_000_000)
        for key, value, headers in records:
            batch.append(key=key, value=value, timestamp=timestamp_ms, headers=headers)
        batch.close()
        built = batch._builder.build
        batch._builder.build = lambda: bytearray(spoil(bytes(built())))
        await (await producer.send_batch(batch, topic, partition=partition))
    finally:
        await producer.stop()
