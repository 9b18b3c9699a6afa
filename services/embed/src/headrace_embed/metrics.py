"""Embed's instruments."""

from opentelemetry import metrics

_tokens = metrics.get_meter("headrace").create_histogram("gen_ai.client.token.usage", unit="{token}")


def tokens_used(tokens: int, *, model: str) -> None:
    """Record the tokens of one call to the model."""
    _tokens.record(
        tokens,
        {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": model, "gen_ai.token.type": "input"},
    )
