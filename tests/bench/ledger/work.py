"""What one process of a case does: it books usages, or it reserves; both return what they saw."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles

import structlog
from bench.ledger.agenda import WINDOW_EVENTS, Booking, Reserving
from bench.ledger.books import Books, open_books, progress_of
from bench.ledger.stream import MODEL, Stream, parts, tenants_of
from headrace_messaging.consuming.partitions import Progress
from headrace_messaging.event import Received
from headrace_meter.budgets import Budget
from headrace_meter.handlers import Wish, release, reserve

_LANES = 4
"""Partitions that are booked side by side, as meter does by default."""
_TOKENS = {"input_tokens": 500, "output_tokens": 100}
_NO_LIMIT_REACHED = 2**62  # picos: a hard limit that every reservation is held against


@dataclass(frozen=True)
class Window:
    """The events just before a mark of history. `cpu_us` is what one took of this process's CPU, not of a server's."""

    history: int
    events_per_s: float
    cpu_us: float


def be_quiet() -> None:
    """Log errors only: what a line a batch costs is not asked."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def book(case: Booking, place: str, name: str, replica: int) -> list[Window]:
    """Book up to the last mark's share of this replica; return what was seen before each mark."""
    return asyncio.run(_book(case, place, name, replica))


def reserve_for(case: Reserving, place: str, seconds: float) -> tuple[list[float], float]:
    """Reserve (and give back) for so long; return the latencies of the reservations in ms, sorted, and their rate."""
    return asyncio.run(_reserve_for(case, place, seconds))


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile of sorted values."""
    return quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


async def _book(case: Booking, place: str, name: str, replica: int) -> list[Window]:
    tenants = tenants_of(case.tenants, replica=replica, replicas=case.replicas)
    stream, windows = Stream(f"{name}-{replica}", tenants), []
    done = 0
    async with open_books(place, budgets=_budgets_of(tenants_of(case.tenants))) as books:
        partitions = [(progress_of(replica * _LANES + lane), lane) for lane in range(_LANES)]
        for mark in case.marks:
            share = mark // case.replicas
            window = min(WINDOW_EVENTS, share - done)
            for each in parts(share - window - done, WINDOW_EVENTS):
                await _take(books, stream, range(done + each.start, done + each.stop), partitions)
            took_s, cpu_s = await _take(books, stream, range(share - window, share), partitions)
            windows.append(Window(mark, window / took_s, cpu_s / window * 1e6))
            done = share
    return windows


async def _take(
    books: Books, stream: Stream, numbers: range, partitions: Sequence[tuple[Progress, int]]
) -> tuple[float, float]:
    """Book usages from all lanes; return the seconds that it took, and those of this process's CPU."""
    batches: list[tuple[list[Received], Progress]] = []
    for progress, lane in partitions:
        offset = progress.watermark.next_offset
        mine = numbers[lane::_LANES]
        batches.append((await stream.received(mine, partition=progress.place[1], offset=offset), progress))
    gc.collect()
    gc.freeze()  # the records would not lie in meter's memory
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(books.take(records, progress) for records, progress in batches))
    return time.perf_counter() - began, time.process_time() - cpu


async def _reserve_for(case: Reserving, place: str, seconds: float) -> tuple[list[float], float]:
    budgets = tenants_of(case.budgets)
    took_ms: list[float] = []
    async with open_books(place, budgets=_budgets_of(budgets)) as books:
        # Connections are opened and statements are prepared before anything is due.
        await asyncio.gather(*(_reserve(books, budgets[one % len(budgets)], f"warm-{one}") for one in range(64)))
        began = time.perf_counter()
        counted_from, until = began + seconds / 5, began + seconds  # the first fifth warms up

        async def call(caller: int) -> None:
            tenant, number = budgets[caller % len(budgets)], 0
            due = began + case.every_ms / 1000 * caller / case.callers
            while (now := time.perf_counter()) < until:
                if case.every_ms and now < due:
                    await asyncio.sleep(due - now)
                due = max(due, time.perf_counter()) if not case.every_ms else due
                name = f"{place[-8:]}-{case.callers}-{case.budgets}-{case.every_ms}-{caller}-{number}"
                await _reserve(books, tenant, name)
                ended = time.perf_counter()
                if ended > counted_from:
                    took_ms.append((ended - due) * 1000)
                await release(tenant, name, post=books.post)
                due, number = due + case.every_ms / 1000, number + 1

        await asyncio.gather(*map(call, range(case.callers)))
    return sorted(took_ms), len(took_ms) / (until - counted_from)


async def _reserve(books: Books, tenant: str, name: str) -> None:
    wish = Wish(tenant=tenant, reservation_id=name, request_id=name, model=MODEL, quantities=_TOKENS)
    await reserve(wish, trace={}, post=books.post, rules=books.rules, clock=books.clock)


def _budgets_of(tenants: Sequence[str]) -> list[Budget]:
    return [Budget(tenant=tenant, period="month", amount_picos=_NO_LIMIT_REACHED) for tenant in tenants]
