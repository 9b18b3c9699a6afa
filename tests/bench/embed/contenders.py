"""Who is measured, in which environment and configuration. Only values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.embed.material import FLOAT_GRAPH, INT8_GRAPH, Material
from headrace_inference.host import this_host

Side = Literal["ours", "served", "peer"]
CORES = this_host().cores

REQUIREMENTS: Mapping[str, Sequence[str]] = {
    "fastembed": ("fastembed>=0.7",),
    "sentence_transformers": ("sentence-transformers>=5",),
}
"""Peers with an environment of their own; the others run in this one."""


@dataclass(frozen=True)
class Contender:
    """A process to measure. `default`: what its users get who configure nothing."""

    name: str
    side: Side
    script: str
    folder: Path
    config: Mapping[str, Any]
    quantised: bool = False
    default: bool = False

    @property
    def environment(self) -> str:
        """Name the environment; empty for this one."""
        name = self.script.removesuffix("_peer")
        return name if name in REQUIREMENTS else ""


def contenders(material: Material, *, quick: bool) -> Sequence[Contender]:
    """Return everybody; a smoke run has one configuration of each."""
    ours, published = material.folder.path, material.published
    made = [
        *(
            Contender(
                f"headrace {variant}, {budget} tokens",
                "ours",
                "headrace_peer",
                ours,
                {"variant": variant, "batch": budget, "threads": CORES},
                quantised=variant != "fp32",
            )
            for variant in ("fp32", "w8", "w8a8")
            for budget in ((512,) if quick else (256, 512))
        ),
        *(
            Contender(
                f"headrace {variant}, 512 tokens, gRPC",
                "served",
                "headrace_service_peer",
                ours,
                {"variant": variant, "batch": 512, "threads": CORES},
                quantised=variant != "fp32",
            )
            for variant in ("fp32", "w8a8")
        ),
    ]
    for peer, default, batches in (("fastembed", None, (1, 8, 32)), ("ort", 32, (1, 8))):
        for file, quantised in ((FLOAT_GRAPH, False), (INT8_GRAPH, True)):
            for batch in (default, *(() if quick else batches)):
                threads = None if peer == "fastembed" and batch is None else CORES
                name = f"{peer} {'int8' if quantised else 'fp32'}, batch {batch or 'default'}"
                config = {"file": file, "batch": batch, "threads": threads}
                made.append(
                    Contender(name, "peer", f"{peer}_peer", published, config, quantised, default=batch == default)
                )
    for batch in (None, *(() if quick else (8, 64))):
        name, config = f"sentence-transformers fp32, batch {batch or 'default'}", {"batch": batch, "threads": CORES}
        made.append(Contender(name, "peer", "sentence_transformers_peer", published, config, default=batch is None))
    return made
