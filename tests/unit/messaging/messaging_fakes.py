"""Handwritten stand-ins for what the units of messaging talk to."""

import hashlib

from headrace_errors import InvalidMessage, Unavailable
from headrace_messaging import Received
from headrace_messaging.codec import require_sendable


class MemoryBlobs:
    """Blobs in a dictionary."""

    def __init__(self):
        self.contents = {}

    async def put(self, tenant, content):
        """Keep the content under its tenant and sha256."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.contents[tenant, sha256] = content
        return sha256

    async def get(self, tenant, sha256):
        """Return what was kept."""
        if (tenant, sha256) not in self.contents:
            raise InvalidMessage("no such blob", reason="blob_not_found")
        return self.contents[tenant, sha256]


class FakePublisher:
    """Takes every event and record, after refusing as many as it is told to."""

    def __init__(self, refuse: int = 0):
        self.refuse = refuse
        self.refused = lambda: None
        self.published = []
        self.sent = []
        self.partitions = []

    async def publish(self, *outgoing):
        """Take events, or raise Unavailable."""
        self._answer()
        self.published.extend(outgoing)

    async def send(self, record, *, partition=None):
        """Take a record, or raise Unavailable; a partition that is named is remembered beside it."""
        self._answer()
        self.sent.append(require_sendable(record))
        self.partitions.append(partition)

    def _answer(self):
        if self.refuse:
            self.refuse -= 1
            self.refused()
            raise Unavailable("told to refuse")


def received(topic, value, headers=(), *, key=b"k", partition=0, offset=0) -> Received:
    """Make a record as the bus delivers it."""
    return Received(topic, partition, offset, 1_767_312_000_000, key, value, tuple(headers))
