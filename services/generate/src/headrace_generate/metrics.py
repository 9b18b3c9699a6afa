"""Generate's instruments, by the GenAI semantic conventions."""

from opentelemetry import metrics

from headrace_generate.domain import TokenUse
from headrace_generate.engine.wire import Load

_meter = metrics.get_meter("headrace")
_tokens = _meter.create_histogram("gen_ai.client.token.usage", unit="{token}")
_client_duration = _meter.create_histogram("gen_ai.client.operation.duration", unit="s")
_server_duration = _meter.create_histogram("gen_ai.server.request.duration", unit="s")
_first_token = _meter.create_histogram(
    "gen_ai.server.time_to_first_token",
    unit="s",
    explicit_bucket_boundaries_advisory=[
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
    ],
)  # fmt: skip
_per_token = _meter.create_histogram(
    "gen_ai.server.time_per_output_token",
    unit="s",
    explicit_bucket_boundaries_advisory=[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5],
)
_engine_use = _meter.create_gauge("headrace.engine.use", unit="1")
_engine_waiting = _meter.create_gauge("headrace.engine.waiting", unit="{job}")
_loop_lag = _meter.create_histogram(
    "headrace.event_loop.lag",
    unit="s",
    explicit_bucket_boundaries_advisory=[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5],
)


def engine_load(model: str, load: Load | None) -> None:
    """Record what is taken of a local engine: its slots, and of their tokens those held and those reserved."""
    taken = [0.0, 0.0, 0.0]
    if load:
        taken = [load.slots / load.slots_max, load.tokens / load.tokens_max, load.tokens_reserved / load.tokens_max]
    for kind, share in zip(("slots", "tokens", "reserved"), taken, strict=True):
        _engine_use.set(share, {"headrace.stage": kind, "gen_ai.request.model": model})
    _engine_waiting.set(load.waiting if load else 0, {"gen_ai.request.model": model})


def loop_lagged(seconds: float) -> None:
    """Record how much later than asked the event loop came back."""
    _loop_lag.record(seconds)


def tokens_used(used: TokenUse, *, model: str, provider: str) -> None:
    """Record a call's tokens, cached ones as part of the input."""
    for kind, count in (("input", used.input_tokens), ("output", used.output_tokens)):
        _tokens.record(count, {**_labels(model, provider), "gen_ai.token.type": kind})


def call_ended(seconds: float, *, model: str, provider: str, served_here: bool, error: str = "") -> None:
    """Record how long a call took, as its client or as its server."""
    duration = _server_duration if served_here else _client_duration
    duration.record(seconds, {**_labels(model, provider), **({"error.type": error} if error else {})})


def first_token(seconds: float, *, model: str, provider: str) -> None:
    """Record the wait for the first piece of text."""
    _first_token.record(seconds, _labels(model, provider))


def per_token(seconds: float, *, model: str, provider: str) -> None:
    """Record the mean time of the tokens after the first."""
    _per_token.record(seconds, _labels(model, provider))


def _labels(model: str, provider: str) -> dict[str, str]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": model,
        "gen_ai.provider.name": provider,
    }
