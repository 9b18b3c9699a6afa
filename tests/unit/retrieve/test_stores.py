"""Which store the settings choose, and what that costs."""

import subprocess
import sys

import pytest
from headrace_retrieve.adapters.stores import STORES, open_store
from headrace_retrieve.adapters.weaviate import parse
from headrace_retrieve.settings import Settings


def settings(url, **more):
    """Return settings with this store."""
    return Settings(store_url=url, kafka={"bootstrap": "nowhere:1"}, **more)


async def test_an_unknown_scheme_is_refused_with_those_that_there_are():
    """At the start, not at the first message."""
    with pytest.raises(ValueError, match="weaviate"):
        await open_store(settings("chroma://host"))


def test_a_store_is_imported_when_it_is_chosen():
    """Neither LanceDB nor Weaviate's client is loaded by the service's own modules."""
    script = "import sys, headrace_retrieve.bootstrap; print([m for m in ('weaviate', 'lancedb') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_every_registered_module_exists():
    """And is spelled rightly: it is imported by name."""
    assert all(module.startswith("headrace_retrieve.adapters.") for module in STORES.values())


def test_an_address_names_both_ends_and_a_prefix():
    """What is left out has the server's defaults."""
    full = parse("weaviates://db.example:443/Prod?grpc_port=444&grpc_host=grpc.example")
    assert (full.host, full.http_port, full.grpc_host, full.grpc_port) == ("db.example", 443, "grpc.example", 444)
    assert (full.secure, full.prefix) == (True, "Prod")
    least = parse("weaviate://db")
    assert (least.http_port, least.grpc_host, least.grpc_port) == (8080, "db", 50051)
    assert (least.secure, least.prefix) == (False, "Headrace")


@pytest.mark.parametrize(
    "url",
    ["weaviate://", "weaviate://user:secret@db", "weaviate://db/lower", "weaviate://db?grpc=1", "weaviate://db/A/B"],
)
def test_an_address_that_says_something_else_is_refused(url):
    """Credentials too: the URL is logged."""
    with pytest.raises(ValueError, match="URL"):
        parse(url)


def test_the_api_key_is_a_secret():
    """It does not show in the configuration that is logged."""
    assert "hunter2" not in str(settings("weaviate://db", store_api_key="hunter2"))
