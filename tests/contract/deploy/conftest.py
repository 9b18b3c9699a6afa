"""Official checkers: where one cannot be had its tests are skipped, or fail with HEADRACE_REQUIRE_SERVERS=1."""

import os

import pytest
from headrace_native import ServerMissing


@pytest.fixture(scope="session")
def checker():
    """Get a checker of headrace_native.checkers, by its function."""

    def get(find):
        try:
            return find()
        except ServerMissing as missing:
            if os.environ.get("HEADRACE_REQUIRE_SERVERS") == "1":
                raise
            pytest.skip(f"no {find.__name__} here: {str(missing).splitlines()[0]}")

    return get
