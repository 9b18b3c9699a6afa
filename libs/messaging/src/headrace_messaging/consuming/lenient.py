"""Header names that are not UTF-8: Kafka takes them, aiokafka's parser breaks on them, and a service must survive them.

The protocol calls a header's name text, and no broker checks it. aiokafka decodes names while it iterates over a batch,
so that one record of any producer makes every fetch of its partition raise. Here such a name arrives as Python keeps
bytes that are no text, by surrogate escapes (PEP 383): `name.encode(errors="surrogateescape")` gives its bytes back.
What becomes of such a record is the codec's to say. A batch without one is parsed by aiokafka alone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint

_LENGTH_AT: Final = 8  # of a batch: after its base offset; what follows these twelve bytes is as long as it says
_BATCH_FOLLOWS: Final = 12


def accept_any_header_name() -> None:
    """Make the consumers of this process survive header names that are not UTF-8. Idempotent.

    aiokafka offers no place to put a parser in: the name under which its fetcher finds one is all there is.
    """
    fetcher.MemoryRecords = LenientRecords


class LenientRecords:
    """The batches of one fetched partition, as aiokafka's MemoryRecords gives them out."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._strict = MemoryRecords(content)
        self._at = 0

    def size_in_bytes(self) -> int:
        """Return how much was fetched, a batch that is cut off included."""
        return int(self._strict.size_in_bytes())

    def has_next(self) -> bool:
        """Say whether there is another whole batch."""
        return bool(self._strict.has_next())

    def next_batch(self) -> LenientBatch:
        """Return the next batch; CorruptRecordException where it is none."""
        batch = self._strict.next_batch()
        (length,) = struct.unpack_from(">i", self._content, self._at + _LENGTH_AT)
        start, self._at = self._at, self._at + _BATCH_FOLLOWS + length
        return LenientBatch(batch, memoryview(self._content)[start : self._at])


class LenientBatch:
    """A batch that aiokafka parses, up to the first record that it cannot; from there on we do."""

    def __init__(self, strict: Any, raw: memoryview) -> None:
        self._strict = strict
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        """Return what aiokafka says of the batch: offsets, producer, transaction, checksum."""
        return getattr(self._strict, name)

    def __iter__(self) -> Iterator[Any]:
        """Yield the records in order; CorruptRecordException where their structure is broken."""
        read = 0
        try:
            for record in self._strict:
                yield record
                read += 1
        except (UnicodeDecodeError, CorruptRecordException) as error:  # the latter where aiokafka has no C extension
            if not isinstance(error.__cause__ or error, UnicodeDecodeError):
                raise
        else:
            return
        yield from islice(_records(self._raw), read, None)

    def __next__(self) -> Any:
        """Return the next record of a control batch, which has no headers."""
        return next(self._strict)


class LenientRecord(NamedTuple):
    """A record as aiokafka's fetcher wants it."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    checksum: None = None


def _records(raw: memoryview) -> Iterator[LenientRecord]:
    """Parse the records of a batch in format 2, the only one that has headers (Kafka protocol, "Record Batch")."""
    batch = iter(_DefaultRecordBatchPy(raw))  # decompressed from here on
    reader = _Reader(batch._buffer, batch._pos)  # noqa: SLF001 - aiokafka keeps the decompressed bytes to itself
    for _ in range(batch._num_records):  # noqa: SLF001
        try:
            yield _record(batch, reader)
        except (IndexError, ValueError):
            raise CorruptRecordException("a record ends before its fields do") from None


def _record(batch: Any, reader: _Reader) -> LenientRecord:
    end = reader.number() + reader.at
    reader.number()  # attributes, which say nothing yet
    elapsed_ms, offset = reader.number(), batch.base_offset + reader.number()
    key, value = reader.content(), reader.content()
    headers = [(reader.name(), reader.content()) for _ in range(reader.number())]
    if reader.at != end:
        raise CorruptRecordException(f"a record of {end} bytes ends at {reader.at}")
    appended = batch.timestamp_type == batch.LOG_APPEND_TIME
    timestamp_ms = batch.max_timestamp if appended else batch.first_timestamp + elapsed_ms
    return LenientRecord(offset, timestamp_ms, batch.timestamp_type, key, value, headers)


class _Reader:
    def __init__(self, content: bytearray, at: int) -> None:
        self._content = content
        self.at = at

    def number(self) -> int:
        read: tuple[int, int] = decode_varint(self._content, self.at)
        number, self.at = read
        return number

    def content(self) -> bytes | None:
        size = self.number()
        if size < 0:
            return None
        start, self.at = self.at, self.at + size
        return bytes(self._content[start : self.at])

    def name(self) -> str:
        return (self.content() or b"").decode(errors="surrogateescape")
