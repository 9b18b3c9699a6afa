"""The record in SQL: links, heads, inbox and outbox in one database, written in one transaction a delivery.

However many links a transaction appends, it takes the same number of statements. The primary key (chain, sequence) and
the check of the head make an append conditional: a second writer, or one that was declared dead and is not, fails with
ChainMoved instead of forking the chain.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from headrace_messaging import Event, Outgoing
from headrace_messaging.inbox import Inbox
from headrace_messaging.outbox import Outbox, OutboxRow
from headrace_messaging.tracing import continuing
from headrace_storage import Database
from sqlalchemy import delete, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace_audit.adapters.tables import CHECKPOINTS, DECLARATIONS, HEADS, LINK_COLUMNS, LINKS, SIGNERS
from headrace_audit.adapters.walk_tables import walk_tables
from headrace_audit.checkpoints import RecordChanged, Tip
from headrace_audit.configuration import Declared
from headrace_audit.domain import ChainMoved, Head, Link
from headrace_audit.merkle import Tree, leaf_hash
from headrace_audit.notes import VerifierKey
from headrace_audit.ports import KeptCheckpoint, Place
from headrace_audit.reports import VerifyReport
from headrace_audit.successions import lineage
from headrace_audit.verification import Verification
from headrace_audit.verify import verify_database


class SqlRecord:
    """The record in a database, which is the SQLite file at `path` where there is one."""

    def __init__(
        self,
        database: Database,
        path: Path | None,
        *,
        inbox: Inbox,
        outbox: Outbox,
        announce: Callable[[Link], Outgoing],
        keys: Sequence[VerifierKey] | None = None,
    ) -> None:
        """`keys` are those that `verify` trusts; without any it checks no signature."""
        self._database = database
        self._path = path
        self._keys = keys
        self._inbox = inbox
        self._outbox = outbox
        self._announce = announce

    @asynccontextmanager
    async def delivery(self, chain: str, events: Sequence[Event[Any]] = ()) -> AsyncIterator[SqlAppending]:
        """Open the transaction of what a chain's partition delivered together; it commits on leaving.

        One chain is written by one at a time.
        """
        async with self._database.write(f"chain/{chain}") as connection:
            yield SqlAppending(connection, events, inbox=self._inbox, outbox=self._outbox, announce=self._announce)

    async def links_of(self, tenant: str, request_id: str, *, links_max: int) -> Sequence[Link]:
        """Return the first `links_max` links of a tenant's request, in order of chain and sequence."""
        query = (
            select(*LINK_COLUMNS)
            .where(LINKS.c.tenant == tenant, LINKS.c.request_id == request_id)
            .order_by(LINKS.c.chain, LINKS.c.sequence)
            .limit(links_max)
        )
        async with self._database.read() as connection:
            return [Link(**row) for row in (await connection.execute(query)).mappings()]

    async def verify(self) -> VerifyReport:
        """Verify every chain off the event loop, a file by the same code that an auditor runs on it."""
        if self._path is None:
            return (await walk_tables(self._database, partial(Verification, keys=self._keys))).report()
        return await asyncio.to_thread(verify_database, self._path, self._keys)

    async def tips(self) -> Sequence[Tip]:
        """Return where every chain ends; the trees as far as they were grown."""
        async with self._database.read() as connection:
            return [_tip(row) for row in (await connection.execute(select(HEADS).order_by(HEADS.c.chain))).mappings()]

    async def sign_with(self, key: str, successions: Sequence[str]) -> None:
        """Make `key` the one that signs here; SignedByAnother when another does that did not hand over."""
        async with self._database.write() as connection:
            newest = select(SIGNERS.c.number, SIGNERS.c.key).order_by(SIGNERS.c.number.desc()).limit(1)
            row = (await connection.execute(newest)).one_or_none()
            line = lineage(key, successions, since=row.key) if row else [(key, "")]
            for number, (heir, note) in enumerate(line, start=row.number + 1 if row else 1):
                signer = {"number": number, "key": heir, "succession": note}
                await connection.execute(insert(SIGNERS).values(signer))

    async def unanchored(self, *, after: Place, checkpoints_max: int) -> Sequence[KeptCheckpoint]:
        """Return the first kept checkpoints behind a place that are not anchored, `checkpoints_max` at most."""
        columns = CHECKPOINTS.c
        query = (
            select(columns.chain, columns.sequence, columns.note)
            .where(columns.anchored.is_(False), tuple_(columns.chain, columns.sequence) > tuple_(*after))
            .order_by(columns.chain, columns.sequence)
            .limit(checkpoints_max)
        )
        async with self._database.read() as connection:
            return [KeptCheckpoint(*row) for row in await connection.execute(query)]

    async def anchored(self, checkpoint: KeptCheckpoint) -> None:
        """Note that a checkpoint lies in the anchor."""
        columns = CHECKPOINTS.c
        place = columns.chain == checkpoint.chain, columns.sequence == checkpoint.sequence
        async with self._database.write(f"anchor/{checkpoint.chain}") as connection:
            await connection.execute(update(CHECKPOINTS).where(*place).values(anchored=True))


class SqlAppending:
    """One delivery's transaction."""

    def __init__(
        self,
        connection: AsyncConnection,
        events: Sequence[Event[Any]],
        *,
        inbox: Inbox,
        outbox: Outbox,
        announce: Callable[[Link], Outgoing],
    ) -> None:
        self._connection = connection
        self._events = events
        self._causes = {event.envelope.id: event.envelope for event in events}
        self._inbox = inbox
        self._outbox = outbox
        self._announce = announce

    async def unseen(self) -> Sequence[int]:
        """Take the events into the inbox; return the places of those that were not there."""
        new = await self._inbox.accept_all(self._connection, self._events)
        places = {id(event): place for place, event in enumerate(self._events)}
        return [places[id(event)] for event in new]

    async def tip(self, chain: str) -> Tip:
        """Return the end of a chain, locked until the transaction ends where the database locks rows."""
        query = select(HEADS).where(HEADS.c.chain == chain).with_for_update()
        row = (await self._connection.execute(query)).mappings().one_or_none()
        return _tip(row) if row else Tip(head=Head(chain))

    async def leaves(self, chain: str, *, after: int, leaves_max: int) -> Sequence[bytes]:
        """Return the leaf hashes of a chain's first `leaves_max` links behind a sequence."""
        query = (
            select(LINKS.c.record_json)
            .where(LINKS.c.chain == chain, LINKS.c.sequence > after)
            .order_by(LINKS.c.sequence)
            .limit(leaves_max)
        )
        return [leaf_hash(text.encode()) for text in await self._connection.scalars(query)]

    async def append(self, links: Sequence[Link], *, before: Tip, tip: Tip) -> None:
        """Insert the links, move the head from `before` to `tip`, put the announcements into the outbox."""
        try:
            if links:
                await self._connection.execute(insert(LINKS), [_row(link) for link in links])
            await self._move(before, tip)
        except IntegrityError as error:
            raise ChainMoved(f"{tip.head.chain} {before.head.sequence + 1} is taken") from error
        await self._outbox.store(self._connection, [await self._encoded(link) for link in links])

    async def declared(self) -> Mapping[str, Declared]:
        """Return what is known of the configuration, by part."""
        rows = await self._connection.execute(select(DECLARATIONS))
        return {row.part: Declared(row.part, row.value, row.number) for row in rows}

    async def declare(self, changes: Sequence[Declared]) -> None:
        """Put these parts in the place of what was known of them."""
        if not changes:
            return
        parts = [change.part for change in changes]
        await self._connection.execute(delete(DECLARATIONS).where(DECLARATIONS.c.part.in_(parts)))
        try:
            await self._connection.execute(insert(DECLARATIONS), [asdict(change) for change in changes])
        except IntegrityError as error:  # by another chain, where a declaration did not come on the platform's key
            raise ChainMoved("another delivery declared it in between") from error

    async def _move(self, before: Tip, tip: Tip) -> None:
        if tip.kept > before.kept:
            kept = {"chain": tip.head.chain, "sequence": tip.kept, "note": tip.note, "anchored": False}
            await self._connection.execute(insert(CHECKPOINTS).values(kept))
        if before.head.sequence == 0:
            await self._connection.execute(insert(HEADS).values(_head_row(tip)))
            return
        place = HEADS.c.chain, HEADS.c.sequence, HEADS.c.fingerprint
        expected = before.head.chain, before.head.sequence, before.head.fingerprint
        at = [column == value for column, value in zip(place, expected, strict=True)]
        if (await self._connection.execute(update(HEADS).where(*at).values(_head_row(tip)))).rowcount != 1:
            raise ChainMoved(f"{before.head.chain} does not end at {before.head.sequence}")

    async def _encoded(self, link: Link) -> OutboxRow:
        cause = self._causes.get(link.record_id)
        with continuing(cause) if cause else nullcontext():
            return await self._outbox.encode(self._announce(link))


def _row(link: Link) -> dict[str, Any]:
    return {name: getattr(link, name) for name in Link.__slots__}


def _head_row(tip: Tip) -> dict[str, Any]:
    return {
        "chain": tip.head.chain,
        "sequence": tip.head.sequence,
        "fingerprint": tip.head.fingerprint,
        "tree_size": tip.tree.size,
        "tree_peaks": tip.tree.to_text(),
        "note": tip.note,
        "signer": tip.key,
        "kept": tip.kept,
    }


def _tip(row: Any) -> Tip:
    try:
        tree = Tree.of_text(row["tree_size"], row["tree_peaks"])
    except ValueError as error:
        raise RecordChanged(f"the tree of {row['chain']} cannot be read: {error}") from None
    return Tip(
        head=Head(row["chain"], row["sequence"], row["fingerprint"]),
        tree=tree,
        note=row["note"],
        key=row["signer"],
        kept=row["kept"],
    )
