"""What the service and its engine process say to each other, one JSON object a line."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal["stop", "length", "cancelled", "expired", "too_long", "queue_full"]


@dataclass(frozen=True)
class EngineConfig:
    """How to open a model. `folder` is an imported ONNX folder; bounds are in slots, tokens and jobs."""

    folder: str
    end_tokens: tuple[int, ...]
    slots: int = 4
    slot_tokens: int = 2048
    threads: int = 2
    waiting_max: int = 256
    prefill_chunk_tokens: int = 128


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


@dataclass(frozen=True)
class Cancel:
    """Stop a generation."""

    id: str


@dataclass(frozen=True)
class Ready:
    """The model is loaded."""

    load_ms: int


@dataclass(frozen=True)
class Text:
    """Text that a generation has added."""

    id: str
    text: str


@dataclass(frozen=True)
class End:
    """The last word on a generation; a request that was not taken has no tokens."""

    id: str
    outcome: Outcome
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


Line = Submit | Cancel | Ready | Text | End
_KINDS: dict[str, type[Line]] = {kind.__name__.lower(): kind for kind in (Submit, Cancel, Ready, Text, End)}


def encode(line: Line) -> bytes:
    """Return a line with its newline."""
    return json.dumps({"kind": type(line).__name__.lower(), **asdict(line)}).encode() + b"\n"


def decode(line: bytes) -> Line:
    """Read a line. Raises ValueError, KeyError or TypeError on what this side never writes."""
    fields: dict[str, Any] = json.loads(line)
    kind = _KINDS[fields.pop("kind")]
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return kind(**{**fields, **lists})
