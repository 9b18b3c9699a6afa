"""What a child process may use, and what it is told when it starts."""

import json
from dataclasses import asdict, dataclass, field

from headrace_ingest.domain.chunking import ChunkSize
from headrace_ingest.domain.parsed import ParseLimits


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Limits for one document; after `documents_max` of them a child is replaced, so that leaks cannot add up."""

    memory_bytes: int = 1024 * 1024 * 1024
    cpu_s: int = 120
    wall_s: float = 600.0
    start_s: float = 20.0
    documents_max: int = 500


@dataclass(frozen=True, slots=True)
class ChildOrders:
    """What a child is told on its command line, as JSON."""

    parent_pid: int
    memory_bytes: int
    cpu_s: int
    tokenizer_path: str = ""  # empty: count words
    parsing: ParseLimits = field(default_factory=ParseLimits)
    chunks: ChunkSize = field(default_factory=ChunkSize)

    def to_argument(self) -> str:
        """Return the orders as one command line argument."""
        return json.dumps(asdict(self))

    @classmethod
    def from_argument(cls, argument: str) -> "ChildOrders":
        """Read what `to_argument` wrote."""
        fields = json.loads(argument)
        return cls(**{**fields, "parsing": ParseLimits(**fields["parsing"]), "chunks": ChunkSize(**fields["chunks"])})
