"""The golden examples of money and proof are what the services make of the examples of usage and decision."""

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from focus_data_toolkit.model.capabilities import KNOWN_CONDITIONS
from focus_data_toolkit.model.validator import lint_focus_1_4_structure
from google.protobuf import json_format
from headrace.audit.v1.events_pb2 import AuditRecorded, AuditSubmitted
from headrace.cost.v1.cost_pb2 import CostRecorded
from headrace.cost.v1.credit_pb2 import CreditGranted
from headrace.usage.v1.correction_pb2 import UsageCorrected
from headrace.usage.v1.usage_pb2 import UsageRecorded
from headrace_audit.domain import Head, next_link
from headrace_audit.ocsf import record_of
from headrace_audit.translation import decision_of, message_of
from headrace_client.costs import focus_record
from headrace_client.costs.corrections import correction_id
from headrace_messaging import Envelope, Event
from headrace_meter.adapters.announcements import Announcements
from headrace_meter.charges import rate, taken_back
from headrace_meter.entrypoints.translation import credit_of, usage_of
from headrace_meter.entrypoints.unknown import correction_of
from headrace_meter.price_file import read_prices

EXAMPLES = Path(__file__).parents[2] / "proto" / "examples"


def example(topic: str) -> dict:
    """Return one example."""
    return json.loads((EXAMPLES / f"headrace.{topic}.v1.json").read_text(encoding="utf-8"))


def time_of(document: dict) -> datetime:
    """Return when an example says that it happened."""
    return datetime.fromisoformat(document["headers"]["ce_time"])


def test_the_cost_example_rates_the_usage_example():
    """The first charge of the example usage, by the built-in prices, under the id that it would have."""
    source, wanted = example("usage.recorded"), example("cost.recorded")
    message = json_format.ParseDict(source["payload"], UsageRecorded())
    usage = usage_of(message, usage_id=source["headers"]["ce_id"], tenant="acme")
    prices = read_prices({}, currency="USD")

    made = Announcements(prices, lambda: time_of(wanted)).cost(usage, rate(usage, prices)[0])

    assert json_format.ParseDict(wanted["payload"], CostRecorded()) == made.payload
    assert made.envelope.id == wanted["headers"]["ce_id"]


def test_the_cost_example_is_a_focus_row():
    """By the model of FOCUS 1.4 from PyPI, every condition declared; what proto3 JSON left out is empty."""
    row = focus_record(json_format.ParseDict(example("cost.recorded")["payload"], CostRecorded()))
    report = lint_focus_1_4_structure("Cost and Usage", [row], supported_conditions=KNOWN_CONDITIONS)

    assert [(one.column, one.message) for one in report.violations] == []


def made_of_costs(name: str) -> dict:
    """Return an example of a further kind of row on the cost topic."""
    return json.loads((EXAMPLES / "cost.recorded" / f"{name}.json").read_text(encoding="utf-8"))


def test_the_correction_example_takes_the_cost_example_back():
    """It names that row, and is its negative: what a correction publishes where the usage was an estimate."""
    source, original, wanted = example("usage.recorded"), example("cost.recorded"), made_of_costs("correction")
    message = json_format.ParseDict(source["payload"], UsageRecorded())
    usage = usage_of(message, usage_id=source["headers"]["ce_id"], tenant="acme")
    prices = read_prices({}, currency="USD")

    back = taken_back(rate(usage, prices))[0]
    made = Announcements(prices, lambda: time_of(wanted)).cost(usage, back)

    assert json_format.ParseDict(wanted["payload"], CostRecorded()) == made.payload
    assert made.envelope.id == wanted["headers"]["ce_id"]
    assert wanted["payload"]["x_CorrectsRowId"] == original["headers"]["ce_id"]


def test_the_credit_s_cost_example_is_the_row_of_the_credit_example():
    """Below zero, once, under the id that is derived from the credit's."""
    source, wanted = example("credit.granted"), made_of_costs("credit")
    message = json_format.ParseDict(source["payload"], CreditGranted())
    credit = credit_of(message, credit_id=source["headers"]["ce_id"], tenant="acme")

    made, _ = Announcements(read_prices({}, currency="USD"), lambda: time_of(wanted)).credit(credit)

    assert json_format.ParseDict(wanted["payload"], CostRecorded()) == made.payload
    assert made.envelope.id == wanted["headers"]["ce_id"]


def test_the_correction_example_says_what_the_attempt_of_the_usage_example_used():
    """Meter reads it as a later usage of that attempt, of all that it was, under the id that the command derives."""
    told, said = example("usage.recorded"), example("usage.corrected")
    usage = usage_of(json_format.ParseDict(told["payload"], UsageRecorded()), usage_id="u", tenant="acme")
    message = json_format.ParseDict(said["payload"], UsageCorrected())

    corrected, correction = correction_of(message, usage_id=said["headers"]["ce_id"], tenant="acme")

    assert replace(corrected, usage_id="u", status=usage.status, quantities=usage.quantities) == usage
    assert corrected.usage_id == correction_id("acme", usage.request_id, usage.attempt_id)
    assert correction.corrected_by == said["headers"]["ce_authid"]


def test_the_audit_example_is_the_first_link_of_the_decision_example():
    """Its fingerprint can be computed from its own record, and from the decision that it records."""
    source, wanted = example("audit.submitted"), example("audit.recorded")
    headers = source["headers"]
    envelope = Envelope(id=headers["ce_id"], type=headers["ce_type"], source=headers["ce_source"], time=time_of(source))
    payload = json_format.ParseDict(source["payload"], AuditSubmitted())
    decision = decision_of(Event(envelope, payload, headers["ce_type"], "acme", 0, 0, time_of(source)))
    head = Head("audit-0")

    link = next_link(head, record_of(decision, after=head, logged_at=time_of(wanted)))

    assert json_format.ParseDict(wanted["payload"], AuditRecorded()) == message_of(link)
