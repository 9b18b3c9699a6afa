"""How a contender is started: its script on its own Python."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from bench.embed.contenders import REQUIREMENTS, Contender
from bench.peer_process import PeerProcess, install, running

PEERS = Path(__file__).parent / "peers"
SETTINGS = {"ORT_DISABLE_TELEMETRY": "1", "PYTHONWARNINGS": "ignore"}


def python_of(contender: Contender) -> Path:
    """Return the Python that a contender runs on. Raises PeerMissing."""
    name = contender.environment
    return install(name, REQUIREMENTS[name]) if name else Path(sys.executable)


def started(contender: Contender, python: Path, place: Path) -> AbstractContextManager[PeerProcess]:
    """Start a contender for the length of a block. A job has `texts`, a file, and `vectors`, a file or null."""
    script, config = PEERS / f"{contender.script}.py", json.dumps(contender.config)
    return running([str(python), str(script), str(contender.folder), config], place / "stderr.txt", SETTINGS)
