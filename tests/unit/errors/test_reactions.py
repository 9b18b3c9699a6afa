"""Every error class has one row in the reaction table, and every protocol follows it."""

import grpc
import headrace_errors
import pytest
from headrace_errors import REACTIONS, HeadraceError, reaction_of

CLASSES = [one for one in vars(headrace_errors).values() if isinstance(one, type) and issubclass(one, HeadraceError)]


def test_every_class_has_a_row_of_its_own():
    """A new class without a row would be taken for a bug."""
    assert set(CLASSES) - {HeadraceError} <= set(REACTIONS)


@pytest.mark.parametrize("error", REACTIONS, ids=lambda error: error.__name__)
def test_a_row_names_a_grpc_status(error):
    """The table's names are gRPC's."""
    assert REACTIONS[error].grpc in grpc.StatusCode.__members__


def test_a_subclass_follows_its_nearest_ancestor():
    """A service's own error needs no row."""

    class ModelUnknown(headrace_errors.Refused):
        pass

    assert reaction_of(ModelUnknown("no")) is REACTIONS[headrace_errors.Refused]


def test_anything_else_is_a_bug():
    """An unexpected exception is dead-lettered and INTERNAL."""
    assert reaction_of(ZeroDivisionError()).kafka == "bug"
