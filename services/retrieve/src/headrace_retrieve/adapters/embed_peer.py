"""Vectors for queries from the embed service, over gRPC, at the priority of someone who waits."""

from __future__ import annotations

import struct

from headrace.embed.v1 import embed_service_pb2 as pb
from headrace.embed.v1 import embed_service_pb2_grpc as pb_grpc
from headrace_runtime import CallContext, EmbeddedTokens, Peer

from headrace_retrieve.ports import EmbeddedQuery, QueryEmbedder
from headrace_retrieve.wire import model_name, vectors_from


class EmbedPeer:
    """The embed service; `on_behalf_of` a call it is a `QueryEmbedder`.

    What it took is noted in `embedded`, for a request that ends in spite of it.
    """

    def __init__(self, peer: Peer, embedded: EmbeddedTokens, *, timeout_s: float) -> None:
        self._peer, self._embedded, self._timeout_s = peer, embedded, timeout_s
        self._stub = pb_grpc.EmbedServiceStub(peer.channel)

    def on_behalf_of(self, call: CallContext) -> QueryEmbedder:
        """Embed for this call's tenant and within its deadline."""

        async def embed(text: str, /) -> EmbeddedQuery:
            request = pb.EmbedRequest(texts=[text], priority=pb.PRIORITY_QUERY, role=pb.TEXT_ROLE_QUERY)
            response = await self._peer.call(self._stub.Embed, request, call, timeout_s=self._timeout_s)
            vectors = vectors_from(response.vectors)
            vector = struct.unpack(f"<{vectors.dimensions}f", vectors.data)
            tokens = sum(response.tokens)
            self._embedded.note(call.tenant, call.request_id, [text], tokens)
            return EmbeddedQuery(vector, model_name(response.model), tokens)

        return embed
