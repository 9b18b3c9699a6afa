"""What a service is made of, and what it is given to make itself: the two sides of `run(Settings, build)`."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from headrace_messaging import Bus, Codec, Publisher, StoredOffsets, Subscription
from headrace_messaging.outbox import Outbox, Relay, RelayOptions, lease_table, outbox_table, relay_of
from headrace_storage import Database, ObjectBlobs
from sqlalchemy import MetaData

from headrace_runtime.configuration import Configured
from headrace_runtime.grpc_client import Peer
from headrace_runtime.grpc_server import Rpc
from headrace_runtime.settings import ServiceSettings
from headrace_runtime.tenants import Tenants

S = TypeVar("S", bound=ServiceSettings)
Task = Callable[[], Awaitable[None]]


class CannotStart(RuntimeError):
    """A service does not start on what it finds; the text says why, and what to do: it is the last line of its log."""


@dataclass(frozen=True)
class Service:
    """A built service. Nothing of it runs yet.

    Messages of `waiting_subscriptions` may wait long, even for what `subscriptions` bring: they get a subscriber of
    their own, with a lane for each message in flight, so that they hold up nothing else.

    `tasks` run beside the subscriber until the service stops; one that raises stops the service. `before_ready` runs
    once, after the bus and before any message: warm-up and recovery. `on_stop` runs first at a stop: it ends what would
    outlast it, such as streams that wait for news. `closers` run last, in reverse order.

    `configuration` is what audit is told of beside the service's own settings: rails, models, prices.
    """

    subscriptions: Sequence[Subscription] = ()
    waiting_subscriptions: Sequence[Subscription] = ()
    rpcs: Sequence[Rpc] = ()
    tasks: Sequence[Task] = ()
    before_ready: Task | None = None
    on_stop: Callable[[], None] | None = None
    offsets: StoredOffsets | None = None
    closers: Sequence[Task] = ()
    configuration: Sequence[Configured] = ()


@dataclass
class Chassis:
    """What `build` may use: connected to nothing yet but what it opens itself."""

    settings: ServiceSettings
    bus: Bus
    codec: Codec
    publisher: Publisher
    blobs: ObjectBlobs
    tenants: Tenants
    relays: list[Relay] = field(default_factory=list)
    databases: list[Database] = field(default_factory=list)
    peers: dict[str, Peer] = field(default_factory=dict)

    def peer(self, name: str) -> Peer:
        """Return the other service `name`, by the address in `peers`; ValueError names the setting that is missing."""
        if name not in self.peers:
            address = self.settings.peers.get(name)
            if not address:
                raise ValueError(f"no address of {name}: set HEADRACE_PEERS__{name.upper()}=host:port")
            self.peers[name] = Peer(name, address)
        return self.peers[name]

    async def database(
        self,
        metadata: MetaData,
        *,
        migrations: Path | None = None,
        file: str = "state.db",
        relaying: RelayOptions | None = None,
    ) -> tuple[Database, Outbox]:
        """Open this service's database, with an outbox whose relay runs as long as the service does.

        It is the schema of the service's name on PostgreSQL where `sql.url` is set, else the SQLite file. `migrations`
        is the folder of the revisions that make the tables; without one, those that are missing are made as declared.
        """
        tables = MetaData()  # a copy: a service's own declaration stays as it is, however often it is built
        for declared in metadata.sorted_tables:
            declared.to_metadata(tables)
        outbox, leases = outbox_table(tables), lease_table(tables)
        database = await self._open(tables, migrations, file)
        relay = relay_of(
            self.bus,
            database,
            outbox,
            self.publisher,
            leases=leases,
            service=self.settings.service,
            instance=self._instance(),
            options=relaying,
        )
        database.on_commit(relay.wake)
        self.databases.append(database)
        self.relays.append(relay)
        return database, Outbox(outbox, self.codec)

    def _instance(self) -> str:
        """Return this replica's name for leases: on a file of its own there is one replica, which keeps its lease."""
        shared = self.settings.sql.url is not None
        return self.settings.kafka.instance or (uuid.uuid4().hex if shared else self.settings.service)

    async def _open(self, tables: MetaData, migrations: Path | None, file: str) -> Database:
        sql = self.settings.sql
        if sql.url is None:
            return await Database.open(self.settings.state_dir / file, tables, migrations=migrations)
        return await Database.connect(
            sql.url.get_secret_value(),
            tables,
            schema=self.settings.service,
            migrations=migrations,
            connections_max=sql.connections_max,
        )


Build = Callable[[S, Chassis], Awaitable[Service]]
