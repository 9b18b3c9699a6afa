"""MeterService: holds, settles, gives back, and answers what was used and what it costs."""

# ruff: noqa: N802 - methods are named as the RPCs are

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from headrace.meter.v1 import meter_service_pb2 as pb
from headrace.meter.v1 import meter_service_pb2_grpc as pb_grpc
from headrace_errors import InvalidMessage
from headrace_runtime import Rpc, current_call
from headrace_telemetry import inject_context

from headrace_meter.entrypoints.translation import (
    budgets_response,
    moment_of,
    quantities_of,
    usage_of,
    usage_response,
    wish_of,
)
from headrace_meter.entrypoints.unknown import unknown_response
from headrace_meter.handlers import Rules, release, reserve, settle
from headrace_meter.money import text_of
from headrace_meter.ports import BudgetBook, Clock, Post, Selection, UnknownBook, UsageBook
from headrace_meter.prices import ModelUnpriced
from headrace_meter.questions import get_budgets, get_unknown, get_usage, price

Context = grpc.aio.ServicerContext[Any, Any]


class MeterServicer(pb_grpc.MeterServiceServicer):
    """Every call acts for the tenant of its metadata.

    What decides about money waits, within its deadline, until `caught_up`: before, neither the budgets that are
    declared nor the prices that hold are known here.
    """

    def __init__(
        self,
        *,
        post: Post,
        book: UsageBook,
        budgets: BudgetBook,
        unknown: UnknownBook,
        rules: Rules,
        clock: Clock,
        caught_up: asyncio.Event,
    ) -> None:
        self._post = post
        self._book = book
        self._budgets = budgets
        self._unknown = unknown
        self._rules = rules
        self._clock = clock
        self._caught_up = caught_up

    async def Reserve(self, request: pb.ReserveRequest, _context: Context) -> pb.ReserveResponse:
        """Hold money for an attempt."""
        await self._caught_up.wait()
        held = await reserve(
            wish_of(request, tenant=current_call().tenant),
            trace=inject_context(),
            post=self._post,
            rules=self._rules,
            clock=self._clock,
        )
        return pb.ReserveResponse(reserved=text_of(held), currency=self._currency)

    async def Settle(self, request: pb.SettleRequest, _context: Context) -> pb.SettleResponse:
        """Book a usage."""
        await self._caught_up.wait()
        if not request.usage_id:
            raise InvalidMessage("usage_id is needed")
        usage = usage_of(request.usage, usage_id=request.usage_id, tenant=current_call().tenant)
        cost = await settle(usage, trace=inject_context(), post=self._post, rules=self._rules)
        if cost is None:
            raise ModelUnpriced(f"the usage is kept, but {usage.model!r} has no price yet")
        return pb.SettleResponse(cost=text_of(cost), currency=self._currency)

    async def Release(self, request: pb.ReleaseRequest, _context: Context) -> pb.ReleaseResponse:
        """Give back what an attempt that did not start held."""
        await release(current_call().tenant, request.reservation_id, post=self._post)
        return pb.ReleaseResponse()

    async def GetUsage(self, request: pb.GetUsageRequest, _context: Context) -> pb.GetUsageResponse:
        """Sum usage and cost."""
        selection = Selection(
            current_call().tenant,
            request.request_id,
            since=moment_of(getattr(request, "from"), "from") if getattr(request, "from") else None,
            before=moment_of(request.to, "to") if request.to else None,
        )
        report = await get_usage(selection, request.group_by, book=self._book)
        return usage_response(report, request.group_by, prices=self._rules.prices)

    async def Price(self, request: pb.PriceRequest, _context: Context) -> pb.PriceResponse:
        """Tell a price."""
        await self._caught_up.wait()
        prices = self._rules.prices
        tenant, quantities = current_call().tenant, quantities_of(request.quantities)
        cost = price(tenant, request.model, quantities, prices=prices, clock=self._clock)
        return pb.PriceResponse(cost=text_of(cost), currency=prices.currency, price_version=prices.version)

    async def ListBudgets(self, _request: pb.ListBudgetsRequest, _context: Context) -> pb.ListBudgetsResponse:
        """Tell how budgets stand."""
        standings = await get_budgets(current_call().tenant, book=self._budgets, clock=self._clock)
        return budgets_response(standings, currency=self._currency)

    async def ListUnknown(self, request: pb.ListUnknownRequest, _context: Context) -> pb.ListUnknownResponse:
        """List attempts of which nobody knows what they used."""
        found = await get_unknown(current_call().tenant, request.request_id, book=self._unknown)
        return unknown_response(found, currency=self._currency)

    @property
    def _currency(self) -> str:
        return self._rules.prices.currency


def rpc(
    *,
    post: Post,
    book: UsageBook,
    budgets: BudgetBook,
    unknown: UnknownBook,
    rules: Rules,
    clock: Clock,
    caught_up: asyncio.Event,
) -> Rpc:
    """Return the gRPC service for the chassis."""
    servicer = MeterServicer(
        post=post, book=book, budgets=budgets, unknown=unknown, rules=rules, clock=clock, caught_up=caught_up
    )
    return Rpc(
        pb.DESCRIPTOR.services_by_name["MeterService"].full_name,
        lambda server: pb_grpc.add_MeterServiceServicer_to_server(servicer, server),
    )
