"""What differs between the topics that are wanted and those that are there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from headrace_messaging.provisioning.cluster import FoundTopic
from headrace_messaging.provisioning.wanted import WantedTopic

Remedy = Literal["create", "alter", "raise_partitions", "by_hand"]
_PREFIX = "headrace."


@dataclass(frozen=True, slots=True)
class Deviation:
    """One thing about one topic that is not as declared: `aspect` is topic, partitions, replication or a setting."""

    topic: WantedTopic
    aspect: str
    wanted: str
    found: str | None
    remedy: Remedy

    def sentence(self) -> str:
        """Say it to people."""
        if self.aspect == "topic":
            return f"{self.topic.name}: missing"
        return f"{self.topic.name}: {self.aspect} is {self.found}, declared {self.wanted}"

    def as_json(self) -> dict[str, Any]:
        """Return it for programs; the keys are stable."""
        return {
            "topic": self.topic.name,
            "aspect": self.aspect,
            "wanted": self.wanted,
            "found": self.found,
            "remedy": self.remedy,
        }


def compare(wanted: Iterable[WantedTopic], found: Mapping[str, FoundTopic]) -> list[Deviation]:
    """Return every deviation, in the order of `wanted`."""
    return [deviation for topic in wanted for deviation in _compare(topic, found.get(topic.name))]


def undeclared(wanted: Iterable[WantedTopic], names: Iterable[str]) -> list[str]:
    """Return the topics of ours that nobody declares: an older version's, or mistyped. They are left alone."""
    return sorted({name for name in names if name.startswith(_PREFIX)} - {topic.name for topic in wanted})


def _compare(wanted: WantedTopic, found: FoundTopic | None) -> Iterator[Deviation]:
    if found is None:
        yield Deviation(wanted, "topic", f"{wanted.partitions} partitions", None, "create")
        return
    if found.partitions != wanted.partitions:
        # Kafka never takes partitions away.
        remedy: Remedy = "raise_partitions" if found.partitions < wanted.partitions else "by_hand"
        yield Deviation(wanted, "partitions", str(wanted.partitions), str(found.partitions), remedy)
    if found.replication < wanted.replication:
        yield Deviation(wanted, "replication", str(wanted.replication), str(found.replication), "by_hand")
    for name, value in wanted.settings.items():
        if found.settings.get(name) != value:
            yield Deviation(wanted, name, value, found.settings.get(name), "alter")
