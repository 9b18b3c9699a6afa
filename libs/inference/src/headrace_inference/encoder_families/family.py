"""What tells one family of encoders from another: how it names tensors and settings, and how it counts positions.

The layers of all of them compute the same; the graph speaks of them by BERT's names.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headrace_inference.model_errors import ImportFailed

_Array = NDArray[np.float32]
_IN_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)")


@dataclass(frozen=True, slots=True)
class Family:
    """A family in its own names. Mappings lead from BERT's names to its own; a name that is missing is the same.

    `title`: what people call it. `head_prefix` stands before each tensor's name in the file of a model with a head.
    `layers` is what a layer's number follows; `parts` names what is in a layer, `settings` the keys of config.json.
    `computed` are the settings that the graph computes: another value is another model. `epsilon` is stated where the
    config does not. `token_types` says whether a table of them is added. Where `positions_follow_padding`, the first
    token has the position behind the padding's own id, and a padding token in a text has that id (Hugging Face's
    create_position_ids_from_input_ids).
    """

    title: str
    head_prefix: str
    computed: Mapping[str, object]
    layers: str = "encoder.layer"
    parts: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    epsilon: float | None = None
    token_types: bool = True
    positions_follow_padding: bool = False

    def tensor(self, name: str) -> str:
        """Return this family's name of the tensor that BERT calls `name`."""
        found = _IN_LAYER.fullmatch(name)
        if not found:
            return name
        layer, part, kind = found.groups()
        return f"{self.layers}.{layer}.{self.parts.get(part, part)}.{kind}"

    def setting(self, name: str) -> str:
        """Return this family's key of the setting that BERT calls `name`."""
        return self.settings.get(name, name)


class Weights:
    """Tensors as a family's file has them (`own`, without the prefix of a model with a head), read by BERT's names."""

    def __init__(self, tensors: Mapping[str, _Array], family: Family) -> None:
        self._family = family
        self.own = {name.removeprefix(family.head_prefix): value for name, value in tensors.items()}

    def __getitem__(self, name: str, /) -> _Array:
        """Return the tensor that BERT calls `name`; ImportFailed where the file has none."""
        own = self._family.tensor(name)
        if own not in self.own:
            raise ImportFailed(
                f"the safetensors lack {own!r}: not a {self._family.title} encoder; fetch them and config.json again, "
                "or add a family (docs/adding-a-model.md)"
            )
        return self.own[own]
