"""Becomes vllm_engine.py, with what has to stand before its process begins: `python vllm_peer.py FOLDER CORES`.

vLLM's guide wants Intel's OpenMP loaded before all else. Its threads are bound, and wait, as vLLM has them do in
workers that are processes of their own; here there is one process, as with the others.
"""

import os
import sys
from pathlib import Path

folder, cores = Path(sys.argv[1]), int(sys.argv[2])
bound = ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))
settings = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_CACHE_ROOT": str(folder / "compiled"),
    "TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled"),
    "KMP_AFFINITY": f"granularity=fine,explicit,proclist=[{bound}]",
    "KMP_BLOCKTIME": "5",
    "KMP_TPAUSE": "0",
}
openmp = Path(sys.prefix) / "lib" / "libiomp5.so"
if openmp.exists():  # for x86-64 only
    settings["LD_PRELOAD"] = f"{openmp}:{os.environ.get('LD_PRELOAD', '')}"
engine = Path(__file__).with_name("vllm_engine.py")
os.execve(sys.executable, [sys.executable, str(engine), *sys.argv[1:]], os.environ | settings)  # noqa: S606 # no shell
