"""Every start tells audit what the service was started with, by hash, and not where it runs."""

import asyncio
import hashlib
from pathlib import Path
from typing import ClassVar

import pytest
from headrace import topics
from headrace_errors import Unavailable
from headrace_runtime import Configured, KafkaSettings, ServiceSettings
from headrace_runtime.configuration import declare, own_settings
from pydantic import SecretStr


class Settings(ServiceSettings):
    service: ClassVar[str] = "cook"

    recipe: str = "soup"
    spice: SecretStr = SecretStr("pepper")


def settings(**given):
    """Read them."""
    return Settings(**{"kafka": KafkaSettings(bootstrap="a:1")} | given)


class Bus:
    """A publisher whose bus does not answer at first."""

    def __init__(self, outages=0):
        self.outages, self.published = outages, []

    async def publish(self, *outgoing):
        if self.outages:
            self.outages -= 1
            raise Unavailable("not yet")
        self.published += outgoing


async def told(publisher, *parts):
    """Declare, until nothing more happens."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(declare("cook", parts, publisher), 0.05)
    return publisher.published


def test_where_a_replica_runs_is_no_configuration():
    """Two replicas of one configuration declare the same, and so does a restart on another bus."""
    here = settings(kafka=KafkaSettings(bootstrap="a:1", generation="one"), data_dir=Path("here"))
    there = settings(kafka=KafkaSettings(bootstrap="b:2", generation="two"), data_dir=Path("there"))

    assert own_settings(here) == own_settings(there)
    assert own_settings(here) != own_settings(settings(recipe="stew"))


def test_a_secret_is_not_hashed():
    """A hash of a short secret tells it to whoever tries."""
    assert own_settings(settings()) == own_settings(settings(spice=SecretStr("salt")))
    assert b"pepper" not in own_settings(settings()).content


async def test_each_part_is_told_by_its_hash_and_version():
    """On one key, so that one chain sees every change of it; not for any tenant."""
    rails, prices = await told(Bus(), Configured("rails", b"x"), Configured("prices", b"y", "2026-11"))

    assert [one.topic for one in (rails, prices)] == [topics.AUDIT_SUBMITTED] * 2
    assert rails.key == prices.key
    assert rails.envelope.id != prices.envelope.id
    assert (rails.payload.service, rails.payload.action, rails.payload.tenant) == ("cook", "configuration.declared", "")
    assert rails.payload.content_sha256 == hashlib.sha256(b"x").hexdigest()
    assert dict(rails.payload.facts) == {"part": "rails"}
    assert dict(prices.payload.facts) == {"part": "prices", "version": "2026-11"}


async def test_an_outage_of_the_bus_only_delays_it(monkeypatch):
    """The same events, once."""
    monkeypatch.setattr("headrace_runtime.configuration.RETRY_S", 0)
    assert len(await told(Bus(outages=3), Configured("rails", b"x"))) == 1
