"""A service's demand at its start: its topics are as declared, or it does not run on them."""

from __future__ import annotations

from headrace.topics import Environment

from headrace_messaging.event import Bus
from headrace_messaging.provisioning.cluster import Cluster
from headrace_messaging.provisioning.comparison import Deviation, compare
from headrace_messaging.provisioning.wanted import topics_of


class TopicsMismatch(Exception):
    """Topics are not as declared. The text names each deviation and the command that mends them."""

    def __init__(self, deviations: list[Deviation], bus: Bus, environment: Environment) -> None:
        self.deviations = tuple(deviations)
        said = "; ".join(deviation.sentence() for deviation in deviations)
        options = f"--bootstrap {bus.bootstrap} --environment {environment.name}"
        super().__init__(
            f"{len(deviations)} deviations from proto/topics.yaml: {said}. "
            f"See them with `headrace topics diff {options}`, mend them with `headrace topics apply {options}`"
        )


async def require_topics(bus: Bus, service: str, environment: Environment) -> None:
    """Return when the topics of a service are as declared; TopicsMismatch says which are not.

    The embedded bus makes its own at its start and tells no settings: there it returns at once.
    """
    if bus.embedded:
        return
    wanted = topics_of(service, environment)
    async with Cluster.connect(bus.bootstrap) as cluster:
        deviations = compare(wanted, await cluster.describe(topic.name for topic in wanted))
    if deviations:
        raise TopicsMismatch(deviations, bus, environment)
