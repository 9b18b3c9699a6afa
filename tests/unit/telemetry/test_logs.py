"""Log lines: what they have in common is said once, where it holds."""

from headrace_telemetry import get_logger, log_context
from headrace_telemetry.logs import with_context
from structlog.testing import capture_logs


def test_every_line_within_has_the_fields_of_the_blocks_around_it():
    """And none has them afterwards; what a line says itself counts more."""
    log = get_logger()
    with capture_logs(processors=[with_context]) as lines:
        with log_context(request_id="r1", tenant="acme"):
            with log_context(attempt=2):
                log.info("inner", tenant="umbrella")
            log.info("outer")
        log.info("after")
    inner, outer, after = lines
    assert (inner["request_id"], inner["tenant"], inner["attempt"]) == ("r1", "umbrella", 2)
    assert (outer["request_id"], outer["tenant"]) == ("r1", "acme")
    assert "attempt" not in outer
    assert not {"request_id", "tenant", "attempt"} & after.keys()
