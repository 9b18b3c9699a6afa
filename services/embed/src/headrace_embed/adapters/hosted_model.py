"""A hosted embedding endpoint (OpenAI-compatible) behind the same port as the model in this process.

Vectors are checked like any other input: as many as texts, the declared width, finite; and normalised here. The key is
read once and never logged; texts go nowhere but to the endpoint. It keeps no vectors: what it cost is what was asked,
and what was answered is billed, however the rest of a call ends.
"""

import asyncio
import base64
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from headrace_errors import InvalidMessage, Overloaded, Unavailable
from headrace_inference.embedding import Embedded
from headrace_inference.encoder import EmbeddingModel, Role
from headrace_inference.manifest import Endpoint, ModelSpec
from headrace_inference.model_folder import identity_of
from headrace_runtime import CannotStart, CircuitBreaker
from numpy.typing import NDArray

from headrace_embed.domain import Bill, Priority, slices

TIMEOUT_S = 30.0
BYTES_PER_TOKEN = 3
"""No tokenizer of a hosted model is at hand; English has about 4, and 3 errs on the safe side for most scripts."""
_RETRY_AFTER_S_MAX = 60.0
_WAITS_MAX = 3
_BULK_SHARE = 0.75
_Answer = tuple[NDArray[np.float32], list[int]]
_CLIENT_ERROR, _TOO_MANY, _SERVER_ERROR = 400, 429, 500
_OUR_ACCOUNT = frozenset({401, 402, 403, 404, 408})  # not the texts' fault: to be mended, and tried again


@dataclass(eq=False, slots=True)
class _Call:
    """What the requests of one call share: whom they are for, what they cost, and that one of them failed."""

    priority: Priority
    bill: Bill
    failed: asyncio.Future[Exception] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def fail(self, error: Exception) -> None:
        """Note the first failure."""
        if not self.failed.done():
            self.failed.set_result(error)


class HostedModel:
    """Embedder over HTTP. Of texts and of requests that are under way bulk may hold three quarters, queries all."""

    def __init__(
        self, spec: ModelSpec, endpoint: Endpoint, *, texts_max: int, client: httpx.AsyncClient | None = None
    ) -> None:
        """Keep what is declared; nothing is sent before `load`. `texts_max`: accepted and not yet answered."""
        key = os.environ.get(endpoint.key_env or "", "").strip()
        self._lacks_key = bool(endpoint.key_env) and not key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = client or httpx.AsyncClient(timeout=TIMEOUT_S, headers=headers)
        self._spec, self._endpoint = spec, endpoint
        self._breaker = CircuitBreaker(spec.name)
        self._texts_max = texts_max
        self._held: dict[Priority, int] = {"query": 0, "bulk": 0}
        self._requests = asyncio.Semaphore(endpoint.requests_max)
        self._bulk_requests = asyncio.Semaphore(max(1, int(endpoint.requests_max * _BULK_SHARE)))
        self.model = EmbeddingModel(
            name=spec.name,
            sha256=identity_of(spec),
            variant="hosted",
            dims=spec.dims or 0,
            tokens_max=spec.max_tokens,
            device="hosted",
            provider=httpx.URL(endpoint.base_url).host,
        )

    async def load(self) -> None:
        """Raise CannotStart where the key is declared and missing: every call would be refused.

        Nothing is asked: an endpoint that is away when the service starts may be there when a text comes.
        """
        if self._lacks_key:
            raise CannotStart(
                f"{self._spec.name} needs a key, and {self._endpoint.key_env} is not set: set that variable to it, or "
                "take `key_env` out of the model's manifest where the endpoint asks for none"
            )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def embed(
        self,
        texts: Sequence[str],
        *,
        tenant: str,  # noqa: ARG002 - nothing is kept, so nothing has to be kept apart
        priority: Priority,
        role: Role,
        bill: Bill,
    ) -> Embedded:
        """Embed texts in as few requests as the endpoint takes.

        When one of them fails, those under way are waited for, since they are billed, and the rest is not sent. One of
        several that the endpoint has no time for is asked again a few times, as late as it says: what the others cost
        would be spent anew by whoever repeats the call.
        Raises what failed first: Overloaded with a retry hint when too much is under way here or there, Unavailable
        where nobody answers, InvalidMessage where the endpoint refuses the texts.
        """
        self._admit(len(texts), priority)
        began_at = time.perf_counter()
        try:
            cut = [self._cut(text, role) for text in texts]
            parts = [cut[part] for part in slices(len(cut), self._endpoint.texts_max)]
            call, waits_max = _Call(priority, bill), _WAITS_MAX if bill.tokens or len(parts) > 1 else 0
            answers = await asyncio.gather(*(self._ask(call, part, waits_max) for part in parts))
        finally:
            self._held[priority] -= len(texts)
        if call.failed.done():
            raise call.failed.result()
        rows = [vectors for vectors, _ in answers]
        return Embedded(
            vectors=np.concatenate(rows) if rows else np.empty((0, self.model.dims), np.float32),
            tokens=tuple(count for _, tokens in answers for count in tokens),
            truncated=tuple(
                row for row, text in enumerate(texts) if len(self._cut(text, role)) < len(self._prefixed(text, role))
            ),
            timings_ms={"tokenize": 0.0, "queue": 0.0, "infer": 1000 * (time.perf_counter() - began_at)},
        )

    def _admit(self, texts: int, priority: Priority) -> None:
        held, bulk_max = sum(self._held.values()), int(self._texts_max * _BULK_SHARE)
        full = held + texts > self._texts_max
        if full or (priority == "bulk" and self._held["bulk"] + texts > bulk_max):
            raise Overloaded(f"{held} texts wait, {texts} more are too many")
        self._held[priority] += texts

    async def _ask(self, call: _Call, texts: Sequence[str], waits_max: int) -> _Answer:
        """Ask, and up to `waits_max` times again where there is too much to do; nothing once the call has failed."""
        for waits_left in reversed(range(waits_max + 1)):
            if call.failed.done():
                break
            try:
                async with self._bulk_requests if call.priority == "bulk" else nullcontext(), self._requests:
                    if not call.failed.done():
                        return await self._request(texts, call.bill)
            except Overloaded as refusal:
                if not waits_left:
                    call.fail(refusal)
                await asyncio.wait([call.failed], timeout=refusal.retry_after_s)
            except Exception as error:  # raised by the call, when the others have ended
                call.fail(error)
        return np.empty((0, self.model.dims), np.float32), []

    async def _request(self, texts: Sequence[str], bill: Bill) -> _Answer:
        body = {"model": self._endpoint.model, "input": list(texts), "encoding_format": "base64"}
        with self._breaker.attempt():
            try:
                response = await self._client.post(f"{self._endpoint.base_url.rstrip('/')}/embeddings", json=body)
            except (httpx.HTTPError, OSError) as error:
                raise Unavailable(f"{self._spec.name} does not answer: {type(error).__name__}") from error
            self._raise_for(response)
            try:
                answer = response.json()
                said = _tokens_said(answer, texts)
                bill.add(said)  # whatever the vectors beside it are worth
                vectors = self._read(answer, texts)
            except (ValueError, KeyError, TypeError) as error:
                raise Unavailable(f"{self._spec.name} answers what is no embedding: {type(error).__name__}") from error
            tokens = _shares(said, texts)
            bill.add(sum(tokens) - said)  # an estimate, where it said nothing
            return vectors, tokens

    def _raise_for(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == _TOO_MANY:
            hint_s = _retry_after_s(response.headers)
            raise Overloaded(f"{self._spec.name} has too much to do", retry_after_s=hint_s)
        if status >= _SERVER_ERROR or status in _OUR_ACCOUNT:
            raise Unavailable(f"{self._spec.name} answers {status}")
        if status >= _CLIENT_ERROR:
            raise InvalidMessage(f"{self._spec.name} refuses the texts: {status}")

    def _read(self, answer: Mapping[str, Any], texts: Sequence[str]) -> NDArray[np.float32]:
        entries = sorted(answer["data"], key=lambda entry: entry["index"])
        if [entry["index"] for entry in entries] != list(range(len(texts))):
            raise ValueError("not a vector for each text")
        return np.stack([_vector(entry["embedding"], self.model.dims) for entry in entries])

    def _prefixed(self, text: str, role: Role) -> str:
        return str(self._spec.options.get(f"{role}_prefix", "")) + text

    def _cut(self, text: str, role: Role) -> str:
        data = self._prefixed(text, role).encode("utf-8", "replace")
        return data[: self.model.tokens_max * BYTES_PER_TOKEN].decode("utf-8", "ignore")


def _vector(embedding: str | Sequence[float], dims: int) -> NDArray[np.float32]:
    if isinstance(embedding, str):
        vector = np.frombuffer(base64.b64decode(embedding, validate=True), "<f4")
    else:  # some endpoints know no base64
        vector = np.array(embedding, np.float32)
    if vector.ndim != 1 or len(vector) < dims:
        raise ValueError("not a vector of the declared width")
    length = np.linalg.norm(vector[:dims])
    if not np.isfinite(length) or length == 0:
        raise ValueError("not a vector that has a length")
    normalised: NDArray[np.float32] = vector[:dims] / length
    return normalised


def _tokens_said(answer: object, texts: Sequence[str]) -> int:
    """Return what the endpoint counted; 0 where it said nothing that can be true."""
    usage = answer.get("usage") if isinstance(answer, Mapping) else None  # some endpoints say null
    said = usage.get("prompt_tokens") if isinstance(usage, Mapping) else None
    most = sum(_sizes(texts)) + 2 * len(texts)  # no tokenizer makes more tokens than bytes and its special ones
    return said if isinstance(said, int) and 0 < said <= most else 0


def _shares(said: int, texts: Sequence[str]) -> list[int]:
    """Share out what the endpoint counted by the texts' bytes; where it said nothing, estimate."""
    sizes = _sizes(texts)
    total = said or sum(sizes) // BYTES_PER_TOKEN
    bounds = np.floor(np.cumsum([0, *sizes]) * total / sum(sizes)).astype(int)
    return [int(count) for count in np.diff(bounds)]


def _sizes(texts: Sequence[str]) -> list[int]:
    return [len(text.encode()) + 1 for text in texts]


def _retry_after_s(headers: Mapping[str, str]) -> float:
    try:
        return min(max(0.05, float(headers.get("retry-after", "1"))), _RETRY_AFTER_S_MAX)
    except ValueError:  # a date, or nonsense
        return 1.0
