"""The instruments of messaging, named as in headrace_telemetry.names.

Labels are topics, groups and stable codes only.
"""

from __future__ import annotations

from opentelemetry import metrics

_METER = metrics.get_meter("headrace")  # a proxy: it follows the provider that is set later

SENT = _METER.create_counter("messaging.client.sent.messages", unit="{message}")
CONSUMED = _METER.create_counter("messaging.client.consumed.messages", unit="{message}")
PROCESS_DURATION = _METER.create_histogram("messaging.process.duration", unit="s")
RETRIES = _METER.create_counter("headrace.retries", unit="{message}")
BLOCKED = _METER.create_up_down_counter("headrace.subscriber.blocked", unit="{message}")
DEAD_LETTERS = _METER.create_counter("headrace.dead_letters", unit="{message}")
LAG = _METER.create_gauge("headrace.subscriber.lag", unit="{message}")
OUTBOX_PENDING = _METER.create_gauge("headrace.outbox.pending", unit="{row}")
CLOCK_OFFSET = _METER.create_gauge("headrace.clock.offset", unit="s")
