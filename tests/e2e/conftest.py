"""One platform for the tests that only use it; a test that breaks one starts its own."""

import pytest
from headrace_testkit import collecting, running_platform

from .folders import write_documents

TENANTS = """
currency: USD
tenants:
  default: {name: Default, open: true, principals: {}, budget: {monthly: "100.00"}}
  a: {name: A, open: true, principals: {alice: [staff], bob: []}, budget: {monthly: "100.00"}}
  b: {name: B, open: true, principals: {}, budget: {monthly: "100.00"}}
  c: {name: C, open: true, principals: {}, budget: {monthly: "100.00"}}
"""
# The language model is replaced by one that repeats the evidence: what is tested here is the platform, and fast.
NULL_MODEL = {"HEADRACE_GENERATE__MODEL": "null"}


@pytest.fixture(scope="session")
def collector():
    with collecting() as running:
        yield running


@pytest.fixture(scope="session")
def platform(tmp_path_factory, collector):
    folder = tmp_path_factory.mktemp("platform")
    tenants = folder / "tenants.yaml"
    tenants.write_text(TENANTS)
    environment = NULL_MODEL | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "HEADRACE_GENERATE__NULL_RUN_LOG": str(folder / "model-runs.log"),
    }
    with running_platform(folder / "data", arguments=["--tenants", str(tenants)], environment=environment) as running:
        yield running


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Name a folder with a document of each kind; written once, for PDF and DOCX hold the time at which they were."""
    return write_documents(tmp_path_factory.mktemp("documents"))
