"""Puts a version of the price book on its topic, and sees whether meter takes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from headrace import topics
from headrace.prices.v1.prices_pb2 import PricesPublished
from headrace_client import CostDesk
from headrace_client.costs import POLL_S, WAIT_S, Held, ask_until
from headrace_messaging import Outgoing, event_id, new_envelope
from headrace_meter.price_file import read_price_file, read_prices
from headrace_meter.prices import PriceList
from headrace_meter.published import BOOK_MAX_BYTES

SOURCE = "/headrace/prices"


@dataclass(frozen=True, slots=True)
class Published:
    """A version that is on the topic; `again` where it was there before, `in_force` what meter rates by now."""

    version: str
    again: bool
    in_force: str

    @property
    def why_not(self) -> str:
        """Say what may be the matter where meter rates by another version."""
        again = "to go back, publish it under a new version"
        if self.again:
            return again
        # The topic may know less than meter: the embedded bus forgets what was published, the ledger does not.
        return (
            f"it had this one before, and keeps the newest ({again}), or refused it (see its log and the dead letters)"
        )

    def as_json(self) -> dict[str, Any]:
        """Return it for programs; the keys are stable."""
        return {"version": self.version, "again": self.again, "in_force": self.in_force}


async def publish_book(
    desk: CostDesk, file: Path, *, actor: str, wait_s: float = WAIT_S, poll_s: float = POLL_S
) -> Published:
    """Publish a file's `prices` section, and wait up to `wait_s` seconds until meter rates by it.

    ValueError names a mistake in it by file, line and key, or a version that means other prices already. Nothing is
    published then.
    """
    now = await desk.usage(desk.tenants[0])
    currency = now.currency
    prices = read_price_file(file, currency=currency)
    text = _text_of(file, prices, currency)
    before = await _published_before(desk, prices.version)
    if before is not None and read_prices(yaml.safe_load(before)["prices"], currency=currency) != prices:
        raise ValueError(f"{file}: version {prices.version} was published with other prices: give it another one")
    if before is None and now.price_version == prices.version:
        # Nobody could tell whether meter takes it: the version is what it says of its file's book.
        raise ValueError(f"{file}: version {prices.version} is in force from meter's own file: give it another one")
    if before is None:
        await desk.publish(_event(prices.version, text, actor))
    found = await ask_until(
        lambda usage: usage.price_version == prices.version,
        lambda: desk.usage(desk.tenants[0]),
        wait_s=0 if before else wait_s,
        poll_s=poll_s,
    )
    return Published(prices.version, before is not None, found.price_version)


def _text_of(file: Path, prices: PriceList, currency: str) -> str:
    """Return the section alone: the file may have others, which are nobody's business on a topic."""
    section = yaml.safe_load(file.read_text(encoding="utf-8"))["prices"]
    text = yaml.safe_dump({"prices": section}, sort_keys=False, allow_unicode=True)
    if read_prices(yaml.safe_load(text)["prices"], currency=currency) != prices:
        raise ValueError(f"{file}: prices do not read the same when the section is written by itself")
    if len(text.encode()) > BOOK_MAX_BYTES:
        raise ValueError(f"{file}: a published book has at most {BOOK_MAX_BYTES} bytes")
    return text


def _event(version: str, text: str, actor: str) -> Outgoing:
    payload = PricesPublished(
        version=version, book=text, published_by=actor, published_at=datetime.now(UTC).isoformat()
    )
    id_ = event_id(f"{version}/{text}", "prices")
    envelope = new_envelope(topics.PRICES_PUBLISHED, id=id_, source=SOURCE, auth_id=actor)
    return Outgoing(topics.PRICES_PUBLISHED, version, payload, envelope)


async def _published_before(desk: CostDesk, version: str) -> str | None:
    found = None
    async for event in desk.read([topics.PRICES_PUBLISHED], Held(datetime.now(UTC))):
        if event.payload.version == version:
            found = str(event.payload.book)
    return found
