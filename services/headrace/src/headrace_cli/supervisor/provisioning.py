"""The declared topics on a real Kafka: made where they are missing, altered where that is safe."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.topics import ENVIRONMENT_DEFAULT, environments
from headrace_messaging.provisioning import Cluster, mend, wanted_topics

ENVIRONMENT = "HEADRACE_KAFKA__ENVIRONMENT"


async def provision(bootstrap: str, environment: Mapping[str, str]) -> None:
    """Bring the topics to their declaration; ValueError names what only a person may do, Unavailable a silent Kafka."""
    declared = environments()[environment.get(ENVIRONMENT, ENVIRONMENT_DEFAULT)]
    async with Cluster.connect(bootstrap) as cluster:
        mended = await mend(cluster, wanted_topics(declared))
    if mended.left:
        sentences = "; ".join(each.sentence() for each in mended.left)
        raise ValueError(
            f"topics of {bootstrap} differ from the declared ones, see `headrace topics diff`: {sentences}"
        )
