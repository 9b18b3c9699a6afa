"""How a contender is started: its script on its own Python."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path

from bench.generate.cases import BUILD_SETTINGS, CORES, REQUIREMENTS, SETTINGS, Contender
from bench.peer_process import PeerMissing, PeerProcess, install, running
from headrace_inference.host import this_host

PEERS = Path(__file__).parent / "peers"


def started(contender: Contender, model: Path, place: Path) -> AbstractContextManager[PeerProcess]:
    """Start a contender for the length of a block. Raises PeerMissing.

    A job has `prompts`, ids, and `output_tokens`; the answer `tokens` after each prompt, `first_s` of each, `wall_s`
    and `cpu_s`.
    """
    if contender.needs and not set(contender.needs) & set(this_host().flags):
        raise PeerMissing(f"has no kernels for a CPU without {' or '.join(contender.needs)}")
    name = contender.environment
    python = install(name, REQUIREMENTS[name], BUILD_SETTINGS) if name else Path(sys.executable)
    script = PEERS / f"{contender.script}.py"
    return running([str(python), str(script), str(model), str(CORES)], place / f"{contender.script}.stderr", SETTINGS)
