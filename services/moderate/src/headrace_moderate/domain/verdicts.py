"""What rails say of a text, and how the words of several rails become one verdict.

Rails find, the policy acts: a rail reports what stands where, the declared action says what follows. Where rails come
from, and what a caller does with a blocked text, is left to others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, Protocol

Stage = Literal["input", "retrieval", "output"]
STAGES: tuple[Stage, ...] = ("input", "retrieval", "output")


class Action(IntEnum):
    """What follows from a finding, in order of strictness."""

    ALLOW = 0
    FLAG = 1
    MASK = 2
    BLOCK = 3


@dataclass(frozen=True, slots=True)
class Subject:
    """A text to look at. `citations` is the number of quotes an answer stands on; None where that makes no sense."""

    text: str
    citations: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a rail found: a stable code and a span of Unicode code points, `text[start:end]`.

    `score` is the rail's certainty from 0 to 1, held against the declared threshold. `mask` is what a masked text says
    instead; an empty one drops the span, which is right for what nobody sees anyway.
    """

    code: str
    start: int
    end: int
    score: float = 1.0
    mask: str = ""


class Rail(Protocol):
    """A pure function from a text to what it found there. It never raises on any text, and runs in linear time."""

    def __call__(self, subject: Subject, /) -> Sequence[Finding]:
        """Return the findings in any order."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One declared use of a rail: findings at or above `threshold` lead to `action`.

    `reasons` gives a finding's code its own reason code on an outcome; others are `rail_<name>`.
    """

    name: str
    rail: Rail
    action: Action
    threshold: float = 0.0
    reasons: Mapping[str, str] = field(default_factory=dict)

    def reason(self, code: str) -> str:
        """Return the reason code that an outcome blocked by this finding carries."""
        return self.reasons.get(code, f"rail_{self.name}")


@dataclass(frozen=True, slots=True)
class Raised:
    """A finding as a verdict reports it: whose it is, what follows, and where it stands in the text as it came in."""

    rail: str
    action: Action
    code: str
    start: int
    end: int
    reason: str
    mask: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a stage says of one text: the strictest action and the text to go on with (empty when blocked)."""

    action: Action
    text: str
    findings: tuple[Raised, ...] = ()

    @property
    def blocked(self) -> Raised | None:
        """Return the finding that blocks the text, if one does."""
        return next((finding for finding in self.findings if finding.action is Action.BLOCK), None)


@dataclass(frozen=True, slots=True)
class Policy:
    """The declared steps of each stage, in order."""

    steps: Mapping[Stage, tuple[Step, ...]]

    def judge(self, stage: Stage, subject: Subject) -> Verdict:
        """Run a stage's rails in order; a later rail sees what earlier ones masked, and a block ends the run."""
        draft = _Draft(subject.text)
        raised: list[Raised] = []
        for step in self.steps[stage]:
            seen = Subject(draft.text, subject.citations)
            found = sorted((f for f in step.rail(seen) if f.score >= step.threshold), key=lambda f: (f.start, -f.end))
            raised += [_raise(step, finding, draft) for finding in found]
            if found and step.action is Action.BLOCK:
                return Verdict(Action.BLOCK, "", tuple(raised))
            if found and step.action is Action.MASK:
                draft.mask(found)
        return Verdict(max((r.action for r in raised), default=Action.ALLOW), draft.text, tuple(raised))


def uncovered(length: int, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the stretches of `range(length)` that no span covers, in order."""
    gaps, position = [], 0
    for start, end in [*sorted(spans), (length, length)]:
        if start > position:
            gaps.append((position, start))
        position = max(position, end)
    return gaps


class _Draft:
    """A text under revision that still knows where each of its code points came from."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._length = len(text)
        self._origins: Sequence[int] = range(len(text))

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Return the span of the text as it came in that `text[start:end]` stems from."""
        if start >= len(self.text):
            return self._length, self._length
        first = self._origins[start]
        return first, (self._origins[end - 1] + 1 if end > start else first)

    def mask(self, findings: Sequence[Finding]) -> None:
        """Put each finding's mask in its place; of overlapping findings the first, and of these the longest, wins."""
        pieces: list[str] = []
        origins: list[int] = []
        position = 0
        for finding in findings:
            if finding.end <= position:
                continue
            begin = max(position, finding.start)
            pieces += [self.text[position:begin], finding.mask if finding.start >= position else ""]
            origins += [*self._origins[position:begin]]
            origins += [self._origins[begin]] * len(pieces[-1])
            position = finding.end
        self.text = "".join((*pieces, self.text[position:]))
        self._origins = [*origins, *self._origins[position:]]


def _raise(step: Step, finding: Finding, draft: _Draft) -> Raised:
    start, end = draft.origin(finding.start, finding.end)
    return Raised(step.name, step.action, finding.code, start, end, step.reason(finding.code), finding.mask)
