"""Every topic has a golden example in proto/examples, and every consumer decodes its bytes."""

import json
from pathlib import Path

import pytest
from google.protobuf import json_format
from headrace.topics import topics
from headrace_messaging import Bus, Codec, Received

EXAMPLES = Path(__file__).parents[2] / "proto" / "examples"


def example_of(name: str) -> dict:
    return json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))


def test_every_example_belongs_to_a_topic():
    """No example outlives its topic, and no topic lacks one."""
    assert {path.stem for path in EXAMPLES.glob("*.json")} == set(topics())


@pytest.mark.parametrize("name", topics())
async def test_an_example_decodes_to_its_message_and_back(name: str):
    """The bytes of an example decode, with nothing left over, to the topic's message."""
    topic, example = topics()[name], example_of(name)
    message = json_format.ParseDict(example["payload"], topic.message())
    value = (
        json.dumps(example["payload"]).encode()
        if topic.encoding == "json"
        else message.SerializeToString(deterministic=True)
    )
    headers = tuple((key, text.encode()) for key, text in example["headers"].items())
    received = Received(name, 0, 0, 0, b"key", value, headers)

    event = await Codec(Bus("unused"), None).decode(received)

    assert event.payload == message
    assert event.envelope.tenant == "acme"
    assert event.envelope.deadline is not None


@pytest.mark.parametrize("name", [name for name, topic in topics().items() if topic.encoding == "json"])
def test_public_topics_write_the_names_of_their_examples(name: str):
    """What we publish has the example's field names: consumers with stock tools rely on them."""
    topic, example = topics()[name], example_of(name)
    message = json_format.ParseDict(example["payload"], topic.message())
    written = json_format.MessageToDict(message, preserving_proto_field_name=topic.json_names == "proto")
    assert set(written) == {key for key, value in example["payload"].items() if value or value == 0}
