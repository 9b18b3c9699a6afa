"""What ingest counts."""

from headrace_telemetry import MetricName
from opentelemetry import metrics

from headrace_ingest.domain.documents import DocumentVersion

_NAME: MetricName = "headrace.documents"
_documents = metrics.get_meter("headrace").create_counter(_NAME, unit="{document}")


def count(version: DocumentVersion) -> None:
    """Count a status."""
    _documents.add(1, {"state": version.state.value, "reason": version.reason})
