"""Tokenizers for chunking: the embedding model's own, or words where there is no model.

Used in the sandbox's child process only.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer


class ModelTokens:
    """The tokenizer of a model, from its `tokenizer.json`."""

    def __init__(self, path: Path) -> None:
        """Load the file. Blocking, some 50 ms. Raises if it is no tokenizer."""
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()  # the file may ask for it, and counts would stop at the limit
        self._tokenizer.no_padding()

    def starts(self, text: str) -> Sequence[int]:
        """Return where each token begins, in code points."""
        return [start for start, _ in self._tokenizer.encode(text, add_special_tokens=False).offsets]

    def counts(self, texts: Sequence[str]) -> Sequence[int]:
        """Return how many tokens each text has."""
        return [len(encoding) for encoding in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


class WordTokens:
    """Words of at most eight letters and single marks: close enough for the null embedder, and needs no file."""

    _PATTERN = re.compile(r"\w{1,8}|[^\w\s]")

    def starts(self, text: str) -> Sequence[int]:
        """Return where each word begins, in code points."""
        return [match.start() for match in self._PATTERN.finditer(text)]

    def counts(self, texts: Sequence[str]) -> Sequence[int]:
        """Return how many words each text has."""
        return [len(self.starts(text)) for text in texts]
