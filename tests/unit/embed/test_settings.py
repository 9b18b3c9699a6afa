"""Embed's settings: bounds that contradict each other are found before anything starts."""

import pytest
from headrace_embed.settings import Settings
from pydantic import ValidationError


@pytest.fixture(autouse=True)
def bus(monkeypatch):
    """Name a bus, as every service needs one."""
    monkeypatch.setenv("HEADRACE_KAFKA__BOOTSTRAP", "nowhere:0")


def test_the_queue_has_room_for_a_call_of_bulk():
    """A slice of a document that is larger than bulk's share would be refused for ever."""
    assert Settings(request_texts_max=75, queue_texts_max=100)
    with pytest.raises(ValidationError, match="REQUEST_TEXTS_MAX is 76"):
        Settings(request_texts_max=76, queue_texts_max=100)
