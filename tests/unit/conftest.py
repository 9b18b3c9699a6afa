"""What unit tests of several packages need."""

import gc

import pytest


@pytest.fixture
def no_garbage_collector():
    """Only what nothing refers to any more is freed: whoever leaves a cycle is found out."""
    gc.disable()
    yield
    gc.enable()
