"""`costs correct` and `costs unknown`: what is said is read strictly, and what is open is shown."""

import pytest
from headrace.meter.v1.meter_service_pb2 import ListUnknownResponse, UnknownUsage
from headrace.usage.v1.usage_pb2 import Quantity, UsageRecorded
from headrace_cli.commands.corrections import quantities_of
from headrace_cli.costing.unknown import unknowns_of, unknowns_table


@pytest.mark.parametrize(
    ("given", "nothing", "found"),
    [
        (["input_tokens=212", "output_tokens=0"], False, {"input_tokens": 212, "output_tokens": 0}),
        ([], True, {}),
    ],
)
def test_quantities_are_read_as_they_are_written(given, nothing, found):
    """A meter, an equals sign, a count."""
    assert quantities_of(given, nothing=nothing) == found


@pytest.mark.parametrize(
    ("given", "nothing", "said"),
    [
        ([], False, "say what it used"),
        (["input_tokens=1"], True, "say what it used"),
        (["input_tokens"], False, "METER=N"),
        (["=5"], False, "METER=N"),
        (["input_tokens=-5"], False, "METER=N"),
        (["input_tokens=1e3"], False, "METER=N"),
        (["input_tokens=1", "input_tokens=2"], False, "stands twice"),
    ],
)
def test_what_is_not_said_clearly_is_refused(given, nothing, said):
    """It is for good: nothing is guessed, and forgetting a quantity is not the same as nothing."""
    with pytest.raises(ValueError, match=said):
        quantities_of(given, nothing=nothing)


class FakeDesk:
    """Two tenants, one of them with an unknown attempt and an estimate."""

    tenants = ("acme", "globex")

    async def unknown(self, tenant, *, request_id=""):
        """Answer as meter does."""
        if tenant == "globex":
            return ListUnknownResponse(currency="USD")
        usages = [
            UsageRecorded(request_id="r1", attempt_id="a1", attempt=1, model="m", status="unknown"),
            UsageRecorded(request_id="", attempt_id="e1", model="e", status="completed", estimated=True,
                          quantities=[Quantity(meter="embedding_tokens", quantity=5)]),
        ]  # fmt: skip
        listed = [UnknownUsage(usage=one, cost="0.5", reserved="2") for one in usages]
        return ListUnknownResponse(usages=listed, more=bool(request_id), currency="USD")


async def test_what_is_open_is_listed_with_what_was_charged_and_what_is_held():
    """Of every tenant that is asked for."""
    found = await unknowns_of(FakeDesk())

    assert [(one["attempt_id"], one["told"], one["charged"], one["held"]) for one in found.as_json()["usages"]] == [
        ("a1", "unknown", "0.5", "2"),
        ("e1", "estimated", "0.5", "2"),
    ]
    assert unknowns_table(found).row_count == 2
    assert (await unknowns_of(FakeDesk(), "r1")).more
