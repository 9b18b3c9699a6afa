"""Any OpenAI-compatible endpoint as an engine. One HTTP call an attempt: retrying is the journal's business.

The key is read once and never logged; prompt and answer go nowhere but to the endpoint.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import openai
from headrace_errors import DeadlineExceeded
from headrace_runtime import CannotStart

from headrace_generate.catalogue import ModelCard
from headrace_generate.domain import NOTHING_USED, AttemptFailed, FinishReason, Message, TokenUse, Written
from headrace_generate.ports import ModelCall, Progress

# No tokenizer of a hosted model is at hand. English text has about 4 bytes a token; 3 errs on the safe side for most
# scripts, and the provider's own count is what is billed.
BYTES_PER_TOKEN = 3
MESSAGE_OVERHEAD_TOKENS = 8
_NOT_SENT = frozenset({"ConnectError", "ConnectTimeout"})  # by name: of a client that the SDK changes as it likes
FINISHES: Final[Mapping[str, FinishReason]] = {"stop": "stop", "length": "length", "content_filter": "content_filter"}


def key_of(card: ModelCard) -> str:
    """Read an endpoint's key, from the file or the variable that its card names; empty where it names none.

    Raises CannotStart where it is not there: without it every call would fail.
    """
    if card.key_file:
        try:
            key, what_to_do = card.key_file.read_text(encoding="utf-8"), f"write it into {card.key_file}"
        except (OSError, UnicodeDecodeError) as error:
            raise CannotStart(
                f"{card.name}: {card.key_file} cannot be read as its key ({type(error).__name__})"
            ) from None
    elif card.key_env:
        key, what_to_do = os.environ.get(card.key_env, ""), f"set the variable {card.key_env}"
    else:
        return ""
    if not key.strip():
        raise CannotStart(
            f"{card.name} needs a key, and there is none: {what_to_do}, or take `key_env` and `key_file` out of its "
            "entry where the endpoint asks for none"
        )
    return key.strip()


class OpenAiEngine:
    """One model of one endpoint."""

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        # The SDK insists on a key; endpoints without authentication ignore it.
        self._client = openai.AsyncOpenAI(base_url=card.base_url, api_key=key_of(card) or "none", max_retries=0)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Estimate from the bytes."""
        sizes = (len(message.content.encode()) // BYTES_PER_TOKEN + MESSAGE_OVERHEAD_TOKENS for message in messages)
        return sum(sizes)

    async def generate(self, call: ModelCall, progress: Progress) -> Written:
        """Stream one completion. See the port."""
        remaining_s = (call.deadline - datetime.now(UTC)).total_seconds()
        if remaining_s <= 0:
            raise DeadlineExceeded("no time was left for the provider")
        limits = _TokenLimits(self._card.context_tokens, call.output_tokens_max)
        reply = _Reply(self.count_tokens(call.messages), limits)
        timeout_s = min(remaining_s, self._card.timeout_s)
        timed_out = "provider_timeout" if timeout_s < remaining_s else "expired"  # whose limit it was
        try:
            async with asyncio.timeout(timeout_s):  # the client's own counts from the last byte, not from the first
                await self._stream(call, reply, progress, timeout_s)
        except openai.APIStatusError as error:
            raise _refused_by_provider(error) from error
        except (TimeoutError, openai.APITimeoutError) as error:
            raise reply.failed(timed_out, error) from error
        except (openai.APIError, OSError) as error:
            raise reply.failed("provider_cut" if reply.pieces else "provider_unreachable", error) from error
        except (ValueError, TypeError, AttributeError) as error:  # not what the protocol says
            raise AttemptFailed("provider_unreadable", used=reply.used()) from error
        return reply.written()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _stream(self, call: ModelCall, reply: _Reply, progress: Progress, timeout_s: float) -> None:
        stream = await self._client.chat.completions.create(
            **self._request(call), timeout=timeout_s, extra_headers={"Idempotency-Key": call.attempt_id}
        )
        async with stream:
            async for chunk in stream:
                reply.take(chunk)
                progress(reply.pieces)

    def _request(self, call: ModelCall) -> dict[str, Any]:
        return {
            **_response_format(call),
            "model": self._card.model,
            "messages": [{"role": message.role, "content": message.content} for message in call.messages],
            "max_tokens": call.output_tokens_max,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }


def _response_format(call: ModelCall) -> dict[str, Any]:
    """Ask for a schema in OpenAI's way; there is none for an expression."""
    if call.constraint is None:
        return {}
    if call.constraint.kind != "json_schema":
        raise AttemptFailed("constraint_not_offered", retry=False)
    schema = {"name": "answer", "strict": True, "schema": _schema(call.constraint.text)}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _schema(text: str) -> dict[str, Any]:
    """Read a caller's schema; one that is none is the caller's mistake, and says nothing of the provider."""
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError):
        schema = None
    if not isinstance(schema, dict):
        raise AttemptFailed("engine_bad_constraint", retry=False)
    return schema


@dataclass(frozen=True)
class _TokenLimits:
    """What a call can have used at most."""

    input_tokens: int
    output_tokens: int

    def allow(self, used: TokenUse) -> bool:
        counts = (used.input_tokens, used.output_tokens, used.cached_input_tokens, used.reasoning_tokens)
        if any(type(count) is not int for count in counts):
            return False
        read = 0 <= used.cached_input_tokens <= used.input_tokens <= self.input_tokens
        return read and 0 <= used.reasoning_tokens <= used.output_tokens <= self.output_tokens


class _Reply:
    """What has arrived of one stream. `input_tokens` is our own estimate of the prompt."""

    def __init__(self, input_tokens: int, limits: _TokenLimits) -> None:
        self._input_tokens, self._limits = input_tokens, limits
        self._text: list[str] = []
        self._finish = ""
        self._usage: Any = None
        self._id = self._model = ""

    @property
    def pieces(self) -> int:
        return len(self._text)

    def take(self, chunk: Any) -> None:
        self._id, self._model = chunk.id or self._id, chunk.model or self._model
        self._usage = chunk.usage or self._usage
        for choice in chunk.choices[:1]:
            self._finish = choice.finish_reason or self._finish
            if choice.delta and choice.delta.content:
                self._text.append(choice.delta.content)

    def used(self) -> TokenUse:
        """Return what the provider said, if it can be true, else what is known: a prompt that was answered was read.

        The numbers are booked, so they are checked like any other input: the SDK types them and looks at none.
        """
        if self._usage is None and not self.pieces:
            return NOTHING_USED
        said = _said(self._usage)
        return said if said and self._limits.allow(said) else self._estimated()

    def _estimated(self) -> TokenUse:
        return TokenUse(self._input_tokens, self.pieces, estimated=True)

    def failed(self, reason: str, error: Exception) -> AttemptFailed:
        """Return how the call ended. Of one that may have been read and was not answered nobody knows what it costs."""
        used = self.used()
        unknown = used == NOTHING_USED and type(error.__cause__).__name__ not in _NOT_SENT
        return AttemptFailed(reason, used=used, unknown=unknown)

    def written(self) -> Written:
        if not self._finish:  # the stream ended in good order, the answer did not
            raise AttemptFailed("provider_cut", used=self.used())
        finish = FINISHES.get(self._finish, "other")
        text = "".join(self._text).encode("utf-8", "replace").decode()  # JSON can spell what no text may hold
        return Written(text, finish, self.used(), self._id, self._model)


def _said(usage: Any) -> TokenUse | None:
    """Read a usage as it came, whatever its numbers are; None for one without its parts."""
    try:
        cached = _part(usage.prompt_tokens_details, "cached_tokens")
        reasoned = _part(usage.completion_tokens_details, "reasoning_tokens")
        return TokenUse(usage.prompt_tokens, usage.completion_tokens, cached, reasoned)
    except AttributeError:
        return None


def _part(details: Any, name: str) -> Any:
    """Return a part of a count as it came; 0 where nothing is said of it."""
    part = getattr(details, name, None)
    return 0 if part is None else part


def _refused_by_provider(error: openai.APIStatusError) -> AttemptFailed:
    status = error.status_code
    retry = status in {408, 409, 429} or status >= 500  # noqa: PLR2004 - HTTP's classes
    return AttemptFailed(f"provider_{status}", retry=retry, retry_after_s=_retry_after_s(error.response.headers))


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Read `Retry-After` in seconds; dates and nonsense count as none."""
    try:
        return max(0.0, float(headers.get("retry-after", "0")))
    except ValueError:
        return 0.0
