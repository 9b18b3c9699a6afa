"""The tokenizer of a language model's folder as every engine opens it, and the text that it makes of tokens."""

from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from headrace_inference.model_errors import ImportFailed

AGAIN = "delete the folder and run `headrace models pull`, or import the model again"
"""What to do about a folder in which something is damaged."""


def open_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer of a `tokenizer.json`. Raises ImportFailed."""
    if not path.is_file():
        raise ImportFailed(f"{path} is missing: {AGAIN}")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ImportFailed(f"{path} cannot be read ({error}): {AGAIN}") from error


def check_vocabulary(tokenizer: Tokenizer, vocabulary: int, path: Path) -> None:
    """Refuse a tokenizer with tokens that the model has not. Raises ImportFailed."""
    if tokenizer.get_vocab_size() > vocabulary:
        raise ImportFailed(f"{path} has more tokens than the model: it belongs to another one; {AGAIN}")


def text_decoders(tokenizer: Tokenizer) -> Callable[[], Callable[[int], str]]:
    """Return what makes a decoder for each sequence: from token ids, one by one, to the text that each completes."""

    def new_decoder() -> Callable[[int], str]:
        stream = DecodeStream(skip_special_tokens=True)
        return lambda token: stream.step(tokenizer, token) or ""

    return new_decoder
