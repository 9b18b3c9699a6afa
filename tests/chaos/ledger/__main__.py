"""`make chaos-ledger`: usages told twice and late, a meter that is killed every few seconds, and the sum at the end.

It starts a Kafka and a PostgreSQL of its own, publishes its own list with a stock producer while kill -9 ends one meter
after the other, and compares what a stock consumer reads and what `headrace costs` says with that list, to the last
micro-unit and beyond. Writes build/chaos/ledger.json and prints a table. Exit code 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import sys
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # `chaos` is a folder of tests, not an installed package

import yaml
from aiokafka import AIOKafkaProducer
from chaos.evidence import Seen
from chaos.ledger.judgement import Judgement, judge
from chaos.ledger.service import Killer, Service
from chaos.ledger.usages import TENANTS, Used, declaration, deliveries, usages
from chaos.reading import read_topic, wait_for_no_lag
from chaos.report import Check, Row, print_table, write_report
from headrace import topics
from headrace_messaging.provisioning import Cluster, mend, wanted_topics
from headrace_native import kafka, postgres
from headrace_native.scratch import scratch

REPORT = Path("build/chaos/ledger.json")
EVENTS = 100_000
KILL_EVERY_S = (0.5, 4.0)  # after a life's first booking
USAGES_A_KILL = 2_000
KILLS_MIN_MAX = 10  # that many have to meet it at work, in a run of any length
_ROW = 24  # beside that row's tampering with records: money
_ALL_AT_ONCE = 500
_SETTLE_WITHIN_S = 300.0


def main() -> int:
    """Do it, report, and say whether every goal was met."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.ledger", description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS, help="usages, each told once or twice")
    parser.add_argument("--rate", type=float, default=1_000, help="how many are told a second")
    parser.add_argument("--seed", type=int, default=20261121)
    given = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    REPORT.unlink(missing_ok=True)  # what stands there tells of another run
    listed = usages(given.seed, given.events)
    told = deliveries(given.seed, listed)
    with scratch() as folder, kafka.serve(folder / "kafka") as broker, postgres.serve(folder / "postgres") as database:
        asyncio.run(_provision(broker.address))
        (folder / "tenants.yaml").write_text(yaml.safe_dump(declaration()))
        environment = dict(broker.environment) | {
            "HEADRACE_SQL__URL": postgres.create_database(database, "meter"),
            "HEADRACE_TENANTS_FILE": str(folder / "tenants.yaml"),
            "HEADRACE_METER__KAFKA__INSTANCE": "meter-1",
        }
        (folder / "data").mkdir()
        service = Service(environment, folder / "data")
        try:
            row = _run(broker.address, service, given, listed, told)
        finally:
            service.stop()
        if not all(goal.met for goal in row.goals()):
            shutil.copytree(folder / "data", REPORT.parent / "ledger", dirs_exist_ok=True)
        write_report(REPORT, [row], {one.name: one.version for one in (broker, database)}, complete=True)
    print_table([row])
    return 0 if all(goal.met for goal in row.goals()) else 1


def _run(
    bootstrap: str, service: Service, given: argparse.Namespace, listed: Sequence[Used], told: Sequence[Used]
) -> Row:
    service.start()
    killer = Killer(service, given.seed, every_s=KILL_EVERY_S)
    killer.start()
    asyncio.run(_publish(bootstrap, told, given.rate))
    kills_min = min(max(len(listed) // USAGES_A_KILL, 1), KILLS_MIN_MAX)
    killer.finish(kills_min)
    over = time.monotonic()
    found, costs = _settled(bootstrap, service, listed, over)
    counts = found.counts()
    ledger = {"events": len(listed), "deliveries": len(told), "late": sum(one.late for one in listed)}
    return Row(
        row=_ROW,
        part="ledger",
        fault="kill -9 of meter, usages told twice and late",
        seed=given.seed,
        requests=len(listed),
        counts=counts,
        recovery_s=round(time.monotonic() - over, 1),
        recovery_max_s=_SETTLE_WITHIN_S,
        checks=[Check("kills_at_work", killer.kills, kills_min, "higher")],
        notes=ledger | {"cost_rows": len(costs), "list_total": str(sum((one.cost for one in listed), Decimal(0)))},
        findings={name: list(getattr(found, name))[:10] for name, count in counts.items() if count},
    )


def _settled(
    bootstrap: str, service: Service, listed: Sequence[Used], since: float
) -> tuple[Judgement, Sequence[Seen]]:  # fmt: skip
    """Judge once all is consumed and nothing is missing any more, or after `_SETTLE_WITHIN_S` as it stands."""
    while True:
        left_s = since + _SETTLE_WITHIN_S - time.monotonic()
        lag = wait_for_no_lag(bootstrap, max(left_s, 1.0), {"meter"})
        costs = read_topic(bootstrap, topics.COST_RECORDED)
        found = judge(listed, costs, {tenant: service.total_of(tenant) for tenant in TENANTS})
        if (not lag and not found.missing) or time.monotonic() - since > _SETTLE_WITHIN_S:
            return found, costs
        time.sleep(1)


async def _provision(bootstrap: str) -> None:
    async with Cluster.connect(bootstrap) as cluster:
        await mend(cluster, wanted_topics(topics.environments()["development"]))


async def _publish(bootstrap: str, told: Sequence[Used], rate_per_s: float) -> None:
    """Publish in order, each once, at most so many a second; all are on the bus when this returns."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=5)
    await producer.start()
    began = time.monotonic()
    try:
        for begin in range(0, len(told), _ALL_AT_ONCE):
            await asyncio.sleep(max(began + begin / rate_per_s - time.monotonic(), 0))
            part = told[begin : begin + _ALL_AT_ONCE]
            sent = [
                await producer.send(topics.USAGE_RECORDED, one.body(), key=one.tenant.encode(), headers=one.headers())
                for one in part
            ]
            await asyncio.gather(*sent)
    finally:
        await producer.stop()


if __name__ == "__main__":
    sys.exit(main())
