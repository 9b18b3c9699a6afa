"""A folder for servers whose data nobody keeps."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder and remove it with all in it.

    Other users may pass through it (not look): as root, PostgreSQL runs as another user, to whom pytest's folders and
    those of `tempfile` are closed.
    """
    with tempfile.TemporaryDirectory(prefix="headrace-native-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder
