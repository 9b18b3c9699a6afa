"""Embed's values as protobuf messages, the same on the bus and over gRPC."""

from headrace.embed.v1 import events_pb2
from headrace.usage.v1 import usage_pb2
from headrace_inference.embedding import Embedded
from headrace_inference.encoder import EmbeddingModel

from headrace_embed.domain import Usage


def vectors_message(embedded: Embedded) -> events_pb2.Vectors:
    """Pack the rows as little-endian float32."""
    rows, dimensions = embedded.vectors.shape
    return events_pb2.Vectors(
        data=embedded.vectors.astype("<f4", copy=False).tobytes(),
        dtype=events_pb2.DTYPE_FLOAT32,
        dimensions=dimensions,
        rows=rows,
    )


def model_message(model: EmbeddingModel) -> events_pb2.ModelRef:
    """Name the model exactly."""
    return events_pb2.ModelRef(name=model.name, sha256=model.sha256, variant=model.variant)


def usage_message(usage: Usage) -> usage_pb2.UsageRecorded:
    """Say what was used; documents count as the feature `ingest`, a request's feature is known to meter by its id."""
    return usage_pb2.UsageRecorded(
        attempt_id=usage.id,
        request_id=usage.request_id,
        tenant=usage.tenant,
        feature="ingest" if usage.document else "",
        operation="embed",
        model=usage.model,
        provider=usage.provider,
        status=usage.status,
        quantities=[usage_pb2.Quantity(meter="embedding_tokens", quantity=usage.tokens)],
        started_at=usage.started_at.isoformat(),
        ended_at=usage.ended_at.isoformat(),
        document=usage.document,
        attempt=1,
        principal=usage.principal,
    )
