"""What the service and its engine process say to each other, one JSON object a line."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from headrace_inference.engines import EngineConfig

__all__ = [
    "LOAD_INTERVAL_S",
    "Cancel",
    "End",
    "EngineConfig",
    "Line",
    "Load",
    "Outcome",
    "Ready",
    "Submit",
    "Text",
    "Unusable",
    "decode",
    "encode",
]

Outcome = Literal[
    "stop",
    "length",
    "cancelled",
    "expired",
    "constraint_failed",
    "capacity",
    "failed",
    "too_long",
    "queue_full",
    "bad_constraint",
    "bad_sampling",
]


LOAD_INTERVAL_S = 1.0


@dataclass(frozen=True)
class Submit:
    """Generate after `prompt`. `deadline_ms` counts from now: the two processes share no clock."""

    id: str
    prompt: tuple[int, ...]
    max_tokens: int
    deadline_ms: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stops: tuple[str, ...] = ()
    head_tokens: int = 0
    top_k: int = 0
    repetition_penalty: float = 1.0
    constraint_kind: Literal["", "json_schema", "regex"] = ""
    constraint: str = ""


@dataclass(frozen=True)
class Cancel:
    """Stop a generation."""

    id: str


@dataclass(frozen=True)
class Ready:
    """The model is loaded: by which engine, where it computes, and what an operator ought to know about that."""

    load_ms: int
    engine: str
    device: str
    note: str = ""


@dataclass(frozen=True)
class Unusable:
    """The model cannot be run; `detail` says why and what to do. The process ends."""

    detail: str


@dataclass(frozen=True)
class Text:
    """Text that a generation has added."""

    id: str
    text: str


@dataclass(frozen=True)
class End:
    """The last word on a generation; a request that was not taken has no tokens, and `detail` may say why."""

    id: str
    outcome: Outcome
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Load:
    """How much of the engine is taken, told at most every LOAD_INTERVAL_S while it works and when it falls idle."""

    slots: int
    slots_max: int
    tokens: int
    tokens_reserved: int
    tokens_max: int
    head_tokens: int
    waiting: int


Line = Submit | Cancel | Ready | Unusable | Text | End | Load
_KINDS: dict[str, type[Line]] = {
    kind.__name__.lower(): kind for kind in (Submit, Cancel, Ready, Unusable, Text, End, Load)
}


def encode(line: Line) -> bytes:
    """Return a line with its newline."""
    return json.dumps({"kind": type(line).__name__.lower(), **vars(line)}).encode() + b"\n"


def decode(line: bytes) -> Line:
    """Read a line. Raises ValueError, KeyError or TypeError on what this side never writes."""
    fields: dict[str, Any] = json.loads(line)
    kind = _KINDS[fields.pop("kind")]
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return kind(**{**fields, **lists})
