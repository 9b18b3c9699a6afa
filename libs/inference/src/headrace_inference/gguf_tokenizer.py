"""The byte-level BPE tokenizer that a GGUF file carries, written as a `tokenizer.json`, and its chat format as data.

Nothing is downloaded. Chat templates are Jinja programs in the file; running them would be running the file's code, so
the one family in use (ChatML) is recognised and written down as plain strings, and any other is refused.
"""

import re
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from headrace_inference.gguf_reading import GgufModel, UnsupportedModelError

CONTROL_TOKEN, USER_DEFINED_TOKEN = 3, 4  # llama.cpp's token types that are never produced by merging bytes
CHATML_TURN = re.compile(
    r"'<\|im_start\|>'\+message(\['role'\]|\.role)\+'\\?n'\+(message(\['content'\]|\.content)|content)\+'<\|im_end\|>'"
)
# GPT-4's split with single digits; tokenizers has no name for it. Source: tokenizer.json of Qwen2.
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS_BY_NAME: dict[str, Any] = {
    "gpt-2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "qwen2": lambda: pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    ),
    "smollm": lambda: pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
}


def make_tokenizer(model: GgufModel) -> Tokenizer:
    """Return the tokenizer with the file's own ids; raises UnsupportedModelError for another kind or pre-tokenizer."""
    kind, split = model.field("tokenizer.ggml.model"), model.field("tokenizer.ggml.pre", "gpt-2")
    if kind != "gpt2" or split not in SPLITS_BY_NAME:
        known = ", ".join(SPLITS_BY_NAME)
        raise UnsupportedModelError(
            f"tokenizer {kind!r} with pre-tokenizer {split!r} is not known: take a file with one of {known}"
        )
    tokens, types = model.field("tokenizer.ggml.tokens"), model.field("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ", 1)) for merge in model.field("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = SPLITS_BY_NAME[split]()
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, types, strict=True) if kind in (CONTROL_TOKEN, USER_DEFINED_TOKEN)]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def chatml_of(template: str) -> dict[str, str]:
    """Return ChatML's delimiters if the template is ChatML, else raise UnsupportedModelError."""
    if not CHATML_TURN.search(re.sub(r"\s+", lambda found: "n" if "\n" in found[0] else "", template)):
        raise UnsupportedModelError("the chat template is not ChatML: take an instruct model that speaks it")
    return {"turn_start": "<|im_start|>", "turn_end": "<|im_end|>", "after_role": "\n", "after_turn": "\n"}
