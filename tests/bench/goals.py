"""What a figure of a report has to be: the same in every benchmark, as JSON and as a line of the table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Better = Literal["higher", "lower"]
_NAME_CHARS = 58


@dataclass(frozen=True)
class Goal:
    """A figure and what it has to be; one that could not be had is a miss."""

    name: str
    value: float | None
    goal: float
    better: Better = "higher"

    @property
    def met(self) -> bool:
        """Whether the value is good enough."""
        if self.value is None:
            return False
        return self.value >= self.goal if self.better == "higher" else self.value <= self.goal

    def as_json(self) -> dict[str, Any]:
        """Return the goal as the report has it."""
        return asdict(self) | {"met": self.met}

    def text(self) -> str:
        """Return the goal's line of the table."""
        value, sign = "-" if self.value is None else f"{self.value:.3f}", ">=" if self.better == "higher" else "<="
        return f"{'ok  ' if self.met else 'MISS'} {self.name:<{_NAME_CHARS}} {value:>9}  {sign} {self.goal:.3g}"
