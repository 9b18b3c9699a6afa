"""Settings come from the environment: the service's own variables before the shared ones."""

import pytest
from headrace_runtime import ServiceSettings
from pydantic import ValidationError


class Settings(ServiceSettings):
    """A service with one setting of its own."""

    service = "example"
    words_max: int = 3


def test_shared_variables_reach_every_service(monkeypatch):
    """HEADRACE_KAFKA__BOOTSTRAP is said once for all."""
    monkeypatch.setenv("HEADRACE_KAFKA__BOOTSTRAP", "one:1")
    assert Settings().kafka.bootstrap == "one:1"


def test_the_services_own_variable_wins(monkeypatch):
    """Field by field: the rest of the section stays shared."""
    monkeypatch.setenv("HEADRACE_KAFKA__BOOTSTRAP", "one:1")
    monkeypatch.setenv("HEADRACE_EXAMPLE__KAFKA__LANES", "7")
    monkeypatch.setenv("HEADRACE_EXAMPLE__WORDS_MAX", "9")
    settings = Settings()
    assert (settings.kafka.bootstrap, settings.kafka.lanes, settings.words_max) == ("one:1", 7, 9)


def test_a_misspelt_field_of_a_section_is_an_error(monkeypatch):
    """Better no start than a setting that does nothing."""
    monkeypatch.setenv("HEADRACE_KAFKA__BOOTSTRAP", "one:1")
    monkeypatch.setenv("HEADRACE_KAFKA__LANE", "7")
    with pytest.raises(ValidationError):
        Settings()
