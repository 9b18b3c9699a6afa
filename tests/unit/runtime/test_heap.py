"""A started process's heap stays out of later garbage collections."""

import gc
import weakref

import pytest
from headrace_runtime.heap import keep_heap


class Node:
    """Something that garbage can be made of."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def thawed():
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("thawed")
def test_what_is_in_use_is_kept_and_what_is_not_is_freed_first():
    """Nothing that is there is looked at again; a cycle that nobody has any more is no part of it."""
    lost, kept = weakref.ref(Node()), Node()
    keep_heap()
    assert lost() is None
    assert all(each is not kept for each in gc.get_objects())
    assert gc.get_freeze_count() > 0
