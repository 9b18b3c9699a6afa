"""The Weaviate is real: it has tenants and keeps objects over a kill. Its adapter has a suite of its own."""

import json
import urllib.request

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


def test_an_object_of_a_tenant_survives_a_kill(own_server):
    """After kill -9 and a start on the same ports the tenant's object is there."""
    server = own_server("weaviate")
    multi_tenant = {"class": CLASS, "vectorizer": "none", "multiTenancyConfig": {"enabled": True}}
    call(server.address, "POST", "schema", multi_tenant)
    call(server.address, "POST", f"schema/{CLASS}/tenants", [{"name": TENANT}])
    stored = {"class": CLASS, "tenant": TENANT, "properties": {"text": "kept"}, "vector": [0.1, 0.2]}
    made = call(server.address, "POST", "objects", stored)
    (process,) = server.processes
    process.kill()
    process.start()
    process.wait_ready()
    found = call(server.address, "GET", f"objects/{CLASS}/{made['id']}?tenant={TENANT}")
    assert found["properties"] == {"text": "kept"}
