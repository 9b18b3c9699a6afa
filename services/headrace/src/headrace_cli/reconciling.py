"""Usage = ledger = cost topic on a running platform: reads the two topics, asks the ledger, and waits for what is late.

It reads no service's tables; the comparison itself is the SDK's.
"""

from __future__ import annotations

import asyncio

from headrace import topics
from headrace_client import Client, Reconciliation, reconcile

WAIT_S = 10.0
POLL_S = 0.2


async def reconcile_topics(client: Client) -> Reconciliation:
    """Compare the three; what is still on its way gets `WAIT_S` seconds to arrive.

    The embedded bus holds what was published since its start: run this on a platform that was started once.
    """
    until = asyncio.get_running_loop().time() + WAIT_S
    while True:
        found = await _compare(client)
        if found.equal or asyncio.get_running_loop().time() > until:
            return found
        await asyncio.sleep(POLL_S)


async def _compare(client: Client) -> Reconciliation:
    usages = [(event.envelope.id, event.payload) for event in await client.events_so_far(topics.USAGE_RECORDED)]
    costs = [(event.envelope.id, event.payload) for event in await client.events_so_far(topics.COST_RECORDED)]
    return reconcile(usages, costs, await client.usage(group_by=["model", "meter"]))
