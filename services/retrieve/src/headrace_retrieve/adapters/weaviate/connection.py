"""One lazily made connection to Weaviate; everything that it does wrong becomes Unavailable.

Nothing is reached at a start: a service whose Weaviate is away comes up and waits with its first call. The client is
told to check nothing at a connect, else it would ask PyPI for its newest version.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TypeVar

import weaviate
from grpc.aio import AioRpcError
from headrace_errors import Unavailable
from httpx import AsyncClient, HTTPError
from weaviate import WeaviateAsyncClient
from weaviate.classes.init import AdditionalConfig, Auth, Timeout
from weaviate.config import GrpcConfig
from weaviate.exceptions import WeaviateBaseError, WeaviateInvalidInputError

from headrace_retrieve.adapters.weaviate.address import Address

Answer = TypeVar("Answer")

CALL_TIMEOUT_S = 10.0  # the client tries again for up to a minute by itself; the subscriber knows better when
BULK_TIMEOUT_S = 60.0  # many objects at once: indexing 256 vectors takes a second, and ten times that on a busy machine
CONNECT_TIMEOUT_S = 5
SOUND_SINCE = (1, 38)
RECONNECT_MS_MAX = 2_000  # gRPC would wait for up to two minutes after a long outage


async def exchange(call: Awaitable[Answer], *, timeout_s: float = CALL_TIMEOUT_S) -> Answer:
    """Await one call; raises Unavailable where it fails or takes longer than `timeout_s`."""
    try:
        async with asyncio.timeout(timeout_s):
            return await call
    except WeaviateInvalidInputError:  # ours, not the server's
        raise
    except (WeaviateBaseError, AioRpcError, HTTPError, OSError, TimeoutError) as error:
        # the error's text may quote what was sent
        raise Unavailable(f"Weaviate did not answer: {type(error).__name__}") from error


class Connection:
    """Holds the client; used from one event loop."""

    def __init__(self, address: Address, api_key: str | None = None) -> None:
        self._address, self._api_key = address, api_key
        self._client: WeaviateAsyncClient | None = None
        self._connecting = asyncio.Lock()
        # it logs objects that were refused, with the text of documents
        logging.getLogger("weaviate-client").setLevel(logging.CRITICAL)

    async def client(self) -> WeaviateAsyncClient:
        """Return the connected client; raises Unavailable while the server cannot be reached."""
        return self._client if self._client is not None else await exchange(self._connected())

    async def word_index_is_sound(self, collection: str) -> bool:
        """Whether rankings by words are right: before 1.38 the newer word index drops rare words from long ones.

        The index that a collection has was chosen by the server when it was made, and the client does not tell.
        Source: weaviate/weaviate pull requests 11772 and 11780.
        """
        at, version = self._address, (await exchange((await self.client()).get_meta()))["version"]
        if tuple(int(number) for number in version.split(".")[:2]) >= SOUND_SINCE:
            return True
        headers = {"authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        url = f"{'https' if at.secure else 'http'}://{at.host}:{at.http_port}/v1/schema/{collection}"
        async with AsyncClient(headers=headers, timeout=CALL_TIMEOUT_S, trust_env=False) as http:
            answer = (await exchange(http.get(url))).json()
        return not answer.get("invertedIndexConfig", {}).get("usingBlockMaxWAND", False)

    async def close(self) -> None:
        """Hang up."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _connected(self) -> WeaviateAsyncClient:
        async with self._connecting:
            if self._client is not None:
                return self._client
            client = self._make()
            try:
                await client.connect()
            except BaseException:
                await client.close()
                raise
            self._client = client
            return client

    def _make(self) -> WeaviateAsyncClient:
        at = self._address
        limits = Timeout(init=CONNECT_TIMEOUT_S, query=CALL_TIMEOUT_S, insert=BULK_TIMEOUT_S)
        channel = [("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", RECONNECT_MS_MAX)]
        return weaviate.use_async_with_custom(
            http_host=at.host,
            http_port=at.http_port,
            http_secure=at.secure,
            grpc_host=at.grpc_host,
            grpc_port=at.grpc_port,
            grpc_secure=at.secure,
            auth_credentials=Auth.api_key(self._api_key) if self._api_key else None,
            additional_config=AdditionalConfig(timeout=limits, grpc_config=GrpcConfig(channel_options=channel)),
            skip_init_checks=True,
        )
