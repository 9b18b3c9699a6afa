"""Every attribute and metric name that Headrace itself gives, and the OpenTelemetry names it uses.

GenAI names are pinned to semantic conventions v1.41.1 (they are still in development): this file is the one place to
move them. A test checks that no other name reaches a span.
"""

from typing import Literal

# Our own.
Attribute = Literal[
    "headrace.tenant",
    "headrace.request.id",
    "headrace.document",
    "headrace.document.version",
    "headrace.attempt",
    "headrace.outcome",
    "headrace.reason",
    "headrace.stage",
    "headrace.rail",
    "headrace.passages",
    "headrace.chunks",
    "headrace.quotes",
    "headrace.book",
    "headrace.state",
    # OpenTelemetry, generative AI.
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.conversation.id",
    "gen_ai.output.type",
    "gen_ai.request.model",
    "gen_ai.request.max_tokens",
    "gen_ai.request.temperature",
    "gen_ai.request.top_p",
    "gen_ai.request.seed",
    "gen_ai.request.stream",
    "gen_ai.response.id",
    "gen_ai.response.model",
    "gen_ai.response.finish_reasons",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.embeddings.dimension.count",
    "gen_ai.data_source.id",
    # OpenTelemetry, messaging and RPC.
    "messaging.system",
    "messaging.operation.name",
    "messaging.operation.type",
    "messaging.destination.name",
    "messaging.destination.partition.id",
    "messaging.consumer.group.name",
    "messaging.batch.message_count",
    "messaging.message.id",
    "messaging.message.conversation_id",
    "messaging.message.body.size",
    "messaging.kafka.offset",
    "messaging.kafka.message.key",
    "rpc.system",
    "rpc.service",
    "rpc.method",
    "rpc.grpc.status_code",
    "error.type",
    "server.address",
    "server.port",
]

MetricName = Literal[
    # Messages handled, by topic and outcome. Unit: {message}.
    "messaging.client.consumed.messages",
    # Messages published, by topic. Unit: {message}.
    "messaging.client.sent.messages",
    # Time in a handler, by topic and outcome. Unit: s.
    "messaging.process.duration",
    # Messages behind, by topic. Unit: {message}.
    "headrace.subscriber.lag",
    # Rows not yet relayed. Unit: {row}.
    "headrace.outbox.pending",
    # Dead letters written, by topic and reason. Unit: {message}.
    "headrace.dead_letters",
    # Messages put on a retry topic, by that topic and reason. Unit: {message}.
    "headrace.retries",
    # Messages whose dead letter or retry cannot be written now, by topic: above 0 their partitions stand still. Alert
    # on it. Unit: {message}.
    "headrace.subscriber.blocked",
    # How far this process's clock is ahead of the brokers'. Unit: s.
    "headrace.clock.offset",
    # gRPC calls served, by method and status. Unit: s.
    "rpc.server.duration",
    # Outcomes decided, by outcome and reason. Unit: {request}.
    "headrace.outcomes",
    # Rail findings, by rail and action. Unit: {finding}.
    "headrace.rail.findings",
    # Documents, by state. Unit: {document}.
    "headrace.documents",
    # What is taken of a local engine, by model and kind: slots, tokens held, tokens reserved, as shares. Unit: 1.
    "headrace.engine.use",
    # Jobs that wait for a slot of a local engine, by model. Unit: {job}.
    "headrace.engine.waiting",
    # How much later than asked the event loop came back. Unit: s.
    "headrace.event_loop.lag",
    # OpenTelemetry, generative AI.
    "gen_ai.client.token.usage",
    "gen_ai.client.operation.duration",
    "gen_ai.server.request.duration",
    "gen_ai.server.time_to_first_token",
    "gen_ai.server.time_per_output_token",
    # Usages kept without a price, by model: an alert. Unit: {usage}.
    "headrace.usage.unrated",
    # Money rated, in micro-units of the currency, by model. Unit: u{currency}.
    "headrace.cost",
    # Requests ever, by tenant and state: registered, decided, waiting. Unit: {request}.
    "headrace.requests",
    # Money ever reserved, by tenant and state: reserved, held, unknown, settled, released. Unit: u{currency}.
    "headrace.reserved",
    # What does not add up, by tenant and book (requests, usages; reservations, holds, spending in picos): 0, or alert.
    "headrace.conservation.difference",
    # Reservations still held long after their request had its outcome, by tenant: 0, or alert. Unit: {reservation}.
    "headrace.reservations.leaked",
    # When the books were last checked, in seconds since 1970. Unit: s.
    "headrace.conservation.checked",
    # Checkpoints in whose place the anchor holds another, counted again each time they are tried: an alert.
    # Unit: {checkpoint}.
    "headrace.anchor.differs",
]
