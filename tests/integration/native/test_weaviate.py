"""The Weaviate is real: it has tenants and keeps objects over a kill. Its adapter has a suite of its own."""

import json
import urllib.request

from headrace_native import weaviate
from headrace_native.scratch import scratch

CLASS = "Thing"
TENANT = "a"


def call(address, method, path, body=None):
    """Call the REST interface and return the answer's JSON."""
    request = urllib.request.Request(
        f"http://{address}/v1/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own server
        return json.loads(answer.read() or b"null")


def test_the_version_is_the_one_asked_for(native_weaviate):
    """The binary says of itself what the recipe says of it."""
    assert call(native_weaviate.address, "GET", "meta")["version"] == native_weaviate.version


def store(address):
    """Store an object of a tenant and return its path."""
    multi_tenant = {"class": CLASS, "vectorizer": "none", "multiTenancyConfig": {"enabled": True}}
    call(address, "POST", "schema", multi_tenant)
    call(address, "POST", f"schema/{CLASS}/tenants", [{"name": TENANT}])
    stored = {"class": CLASS, "tenant": TENANT, "properties": {"text": "kept"}, "vector": [0.1, 0.2]}
    return f"objects/{CLASS}/{call(address, 'POST', 'objects', stored)['id']}?tenant={TENANT}"


def test_an_object_of_a_tenant_survives_a_kill(own_server):
    """After kill -9 and a start on the same ports the tenant's object is there."""
    server = own_server("weaviate")
    path = store(server.address)
    (process,) = server.processes
    process.kill()
    process.start()
    process.wait_ready()
    assert call(server.address, "GET", path)["properties"] == {"text": "kept"}


def test_a_later_start_on_other_ports_finds_what_was_kept(native_weaviate):
    """A node of one leads itself, wherever its peers' ports are now: its schema can be written, too."""
    with scratch() as folder:
        with weaviate.serve(folder) as first:
            path = store(first.address)
        with weaviate.serve(folder) as second:
            assert second.address != first.address
            assert call(second.address, "GET", path)["properties"] == {"text": "kept"}
            call(second.address, "POST", "schema", {"class": "Another", "vectorizer": "none"})
