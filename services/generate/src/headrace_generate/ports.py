"""What the use cases need of the world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from headrace_generate.answering import Embed, Passage
from headrace_generate.catalogue import ModelCard
from headrace_generate.domain import Attempt, Message, Origin, OutputConstraint, Written

Progress = Callable[[int], None]


@dataclass(frozen=True)
class ModelCall:
    """One call of a model. `attempt_id` is the idempotency key where a provider takes one."""

    attempt_id: str
    request_id: str
    attempt: int
    messages: tuple[Message, ...]
    output_tokens_max: int
    deadline: datetime
    constraint: OutputConstraint | None = None


class Engine(Protocol):
    """A model that writes, here or elsewhere."""

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the prompt's tokens for its reservation: exact with the model's tokenizer, else an estimate.

        An estimate may be too low: what is billed is what the engine says that it used.
        """

    async def generate(self, call: ModelCall, progress: Progress) -> Written:
        """Write. `progress` hears the output tokens so far. Cancelling the task cancels the model.

        Raises AttemptFailed when the call gave no answer, DeadlineExceeded when it could not begin in time.
        """


class Permits(Protocol):
    """A bound on the calls to one model that are in flight, and on those that wait."""

    def check(self) -> None:
        """Raise Overloaded, with a hint when to return, where too many wait."""

    def until(self, deadline: datetime) -> AbstractAsyncContextManager[None]:
        """Hold a permit for a block. Raises Overloaded as `check` does, and DeadlineExceeded after waiting."""


@dataclass(frozen=True)
class ServedModel:
    """A model of the catalogue with its engine and the permits of its calls."""

    card: ModelCard
    engine: Engine
    permits: Permits


class Models(Protocol):
    """The models that can be asked."""

    def find(self, name: str) -> ServedModel:
        """Return a model, the default for an empty name. Raises Refused `unknown_model`."""


class Journal(Protocol):
    """The record of attempts, and the events that follow from them: either both are stored or neither."""

    async def attempts(self, tenant: str, request_id: str) -> tuple[Attempt, ...]:
        """Return a request's attempts in order."""

    async def start(self, attempt: Attempt) -> bool:
        """Enter a started attempt, or find it entered; False when its number is another one's."""

    async def finish(self, attempt: Attempt) -> bool:
        """Store how a started attempt of the same owner ended, with its events; False when it had ended otherwise."""

    async def started(self, rows_max: int, *, after: Attempt | None) -> Sequence[Attempt]:
        """Return up to `rows_max` attempts of any owner that have not ended, in order of their keys from `after` on."""

    async def publish_again(self, attempts: Sequence[Attempt]) -> None:
        """Publish the stored events of ended attempts once more, under the same ids, if the bus may have lost them."""


class Rails(Protocol):
    """The rails, in moderate."""

    async def question(self, text: str, origin: Origin, request_id: str) -> str:
        """Return a question as it may go on. Raises Refused when a rail blocks it."""

    async def admit(self, passages: Sequence[Passage], origin: Origin, request_id: str) -> tuple[Passage, ...]:
        """Return the passages that may be used. A text that would have to be masked is dropped: quotes are verbatim."""

    async def release(self, texts: Sequence[str], origin: Origin, request_id: str) -> tuple[str, ...]:
        """Return the texts of an answer as they may be shown. Raises Refused when one is blocked."""


class Meter(Protocol):
    """The budget."""

    async def reserve(self, attempt: Attempt, *, input_tokens: int, output_tokens: int) -> None:
        """Hold the most that an attempt can cost. Raises QuotaExceeded, or Refused for a model without a price."""

    async def release(self, attempt: Attempt) -> None:
        """Give back what is held for an attempt that did not start, if anything is. Best effort: raises nothing."""


class QueryEmbed(Embed, Protocol):
    """Embeds on behalf of one request."""

    @property
    def tokens(self) -> int:
        """Tokens embedded so far."""


class Embedder(Protocol):
    """Where vectors come from."""

    def on_behalf_of(self, origin: Origin, request_id: str) -> QueryEmbed:
        """Return an embedding function that acts, and pays, for a request."""
