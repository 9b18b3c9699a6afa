"""The port between texts and vectors: what the embedding engine asks of a model, whatever runs it.

Adapters: `onnx_encoder` (a model folder on onnxruntime), `null_encoder` (hashes, no model). A hosted endpoint would be
one more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Role = Literal["query", "passage"]
"""What a text is in a search. Some models were trained with another prefix in front of each."""


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """Which model, exactly, and its limits. Equal (sha256, variant) mean equal vectors, to 1e-6.

    `provider`: who runs it, for the bill; a hosted endpoint's host.
    """

    name: str
    sha256: str
    variant: str
    dims: int
    tokens_max: int
    device: str
    provider: str = "headrace"


@dataclass(frozen=True, slots=True)
class Tokens:
    """A tokenised text: ids with the special ones, cut at the model's limit; `truncated` says that it was cut."""

    ids: Sequence[int]
    truncated: bool


class Encoder(Protocol):
    """A model that turns token ids into vectors. Methods block and may be called from several threads at once."""

    @property
    def model(self) -> EmbeddingModel:
        """The model and its limits."""

    def tokenize(self, texts: Sequence[str], role: Role = "passage") -> list[Tokens]:
        """Tokenise texts, in order, with the role's prefix; each result holds between 1 and `tokens_max` ids."""

    def encode(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        """Return one vector of length 1 a row, shape (len(batch), dims).

        Batch invariant: a text's vector does not depend on its neighbours, to 1e-6.
        """
