"""How the generation benchmark starts its contenders."""

import pytest
from bench.generate.cases import Contender
from bench.generate.stand import started
from bench.peer_process import PeerMissing


def test_a_peer_without_kernels_for_this_cpu_is_missing_before_anything_is_installed(tmp_path):
    """Its gigabytes would come for nothing, and its end by an illegal instruction would say nothing."""
    peer = Contender("other", "vllm_peer", "gguf", "an environment that is nowhere", needs=("amx9", "sve9"))
    with pytest.raises(PeerMissing, match="without amx9 or sve9"):
        started(peer, tmp_path, tmp_path)
