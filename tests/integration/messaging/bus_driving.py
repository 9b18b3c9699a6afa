"""How the tests ask, wait and look."""

import asyncio

from headrace.query.v1.query_pb2 import QueryRequested
from headrace.topics import QUERY_REQUESTED, topics
from headrace_messaging import Outgoing, new_envelope


def partitions_of(name):
    """Return how many partitions a topic or dead-letter topic has."""
    return next(topic.partitions for topic in topics().values() if name.startswith(topic.name))


def ask(number, key="k", **attributes) -> Outgoing:
    """Make the question of that number."""
    attributes = {"source": "/test", "id": f"q{number}"} | attributes
    return Outgoing(
        QUERY_REQUESTED, key, QueryRequested(question=str(number)), new_envelope(QUERY_REQUESTED, **attributes)
    )


async def until(condition, within_s=120, *, every_s=0.005):
    """Wait until a condition holds; the bound is for what never comes, not for what is slow."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for knows of no event
            await asyncio.sleep(every_s)
