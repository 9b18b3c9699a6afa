"""Price books that were published: taken in where they can be used, and the newest one holds on every replica.

A book that nobody could use changes nothing. Files say what holds as long as no book was published.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from headrace_errors import InvalidMessage

from headrace_meter.price_fields import InvalidPrices
from headrace_meter.price_file import read_price_text
from headrace_meter.prices import PriceList

BOOK_MAX_BYTES = 900_000  # a message on the bus may have a MiB, with what is around the book


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedBook:
    """A version of the book, as its text."""

    version: str
    text: str
    published_by: str
    published_at: datetime

    def prices(self, *, currency: str) -> PriceList:
        """Read it; InvalidPrices names line, key and problem."""
        found = read_price_text(self.text, f"book {self.version}", currency=currency)
        if found.version != self.version:
            raise InvalidPrices("prices.version", f"it is {found.version!r}, published as {self.version!r}")
        return found


class Shelf(Protocol):
    """Where published books are kept, in the order in which they came."""

    async def newest(self, *, after: int) -> tuple[int, PublishedBook] | None:
        """Return the newest book and its number, from 1; None where none came after that number."""
        ...


async def take_in(book: PublishedBook, *, put: Callable[[PublishedBook], Awaitable[None]], in_force: PriceList) -> None:
    """Keep a book that came; InvalidMessage says what is wrong with it.

    `put` refuses another text under a version that it has. A version never means two books.
    """
    try:
        prices = book.prices(currency=in_force.currency)
    except InvalidPrices as error:
        raise InvalidMessage(str(error), reason="invalid_prices") from None
    if prices.version == in_force.version and prices != in_force:
        raise version_taken(prices.version)
    await put(book)


def version_taken(version: str) -> InvalidMessage:
    """Return the error of a book whose version means other prices already."""
    return InvalidMessage(f"version {version!r} means other prices: give the book another one", reason="version_taken")


class PricesInForce:
    """Lets the newest published book hold, by `take`; asked again and again, on every replica.

    `take` may be given the same book again: one that it could not take in full counts as not taken.
    """

    def __init__(self, shelf: Shelf, *, take: Callable[[PriceList], Awaitable[None]], currency: str) -> None:
        self._shelf, self._take, self._currency = shelf, take, currency
        self._seen = 0

    async def refresh(self) -> PublishedBook | None:
        """Take a newer book and return it, None where there is none; InvalidPrices, once, for one that is no use here.

        Such a one was checked when it was taken in: by a newer release, or for another currency.
        """
        found = await self._shelf.newest(after=self._seen)
        if found is None:
            return None
        number, book = found
        try:
            prices = book.prices(currency=self._currency)
        except InvalidPrices:
            self._seen = number
            raise
        await self._take(prices)
        self._seen = number
        return book
