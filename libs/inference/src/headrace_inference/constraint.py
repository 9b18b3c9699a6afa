"""What a constrained output must be, and what the engine needs to follow it. How is `grammars`' matter."""

from dataclasses import dataclass
from typing import Literal, Protocol

from headrace_inference.sampling import Allowed

Kind = Literal["json_schema", "regex"]


class BadConstraintError(ValueError):
    """A schema or an expression that cannot be read, is too large, or that nothing could fulfil."""


@dataclass(frozen=True)
class Constraint:
    """What the whole output must be: a JSON document of a schema, or a text that an expression matches."""

    kind: Kind
    text: str


class Matcher(Protocol):
    """Where one output stands in its grammar."""

    def allowed(self) -> Allowed | None:
        """Return which tokens may come next, [vocabulary]; None where the grammar gave up."""

    def take(self, token: int) -> bool:
        """Go on by a token that was allowed; return whether the output is whole and nothing can follow."""
