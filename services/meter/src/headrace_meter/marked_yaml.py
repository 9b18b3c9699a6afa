"""YAML whose places are known: which line a key stands on. A key that stands twice is refused, where YAML takes one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class MarkedYaml:
    """A document, and the lines (from 1) of its places: `prices.rates[0].model`."""

    document: Any
    lines: dict[str, int]

    @classmethod
    def read(cls, text: str) -> MarkedYaml:
        """Read a document; yaml.YAMLError names line and column of what is wrong, or of a key that stands twice."""
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = dict(_places(root, "", set())) if root else {}
        return cls(yaml.safe_load(text), lines)

    def line(self, place: str) -> int:
        """Return where a place stands; for a key that is missing, where its nearest parent does."""
        while place and place not in self.lines:
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
        return self.lines.get(place, 1)


def _places(node: yaml.Node, place: str, walked: set[int]) -> Iterator[tuple[str, int]]:
    """Yield every place below a node with its line; what an alias repeats, or holds itself by, only once."""
    if id(node) in walked:
        return
    walked.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            written = str(key.value)
            if written in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{written!r} stands twice", key.start_mark)
            seen.add(written)
            name = f"{place}.{written}" if place else written
            yield name, key.start_mark.line + 1
            yield from _places(value, name, walked)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield f"{place}[{index}]", value.start_mark.line + 1
            yield from _places(value, f"{place}[{index}]", walked)
