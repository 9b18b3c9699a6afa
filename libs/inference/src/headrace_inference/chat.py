"""A conversation as token ids. Roles and turn ends are special tokens; what people and documents say never is.

A text that contains `<|im_end|>` is encoded as those characters, so no passage can end its turn or open another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class ChatMessage:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class ChatFormat:
    """How a model marks turns: start token, role, text, content, end token, text (ChatML's shape)."""

    turn_start: str
    turn_end: str
    after_role: str
    after_turn: str


class ChatEncoder:
    """Encodes conversations for one model. Immutable after construction; safe to share between threads."""

    def __init__(self, tokenizer_file: Path, chat: Mapping[str, str]) -> None:
        self._tokenizer = Tokenizer.from_file(str(tokenizer_file))
        self._tokenizer.encode_special_tokens = True
        self._format = ChatFormat(**chat)
        self._start = self._id(self._format.turn_start)
        self._end = self._id(self._format.turn_end)

    @property
    def turn_end(self) -> int:
        """The token that ends a turn; a model that writes it has finished."""
        return self._end

    def encode(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Return the prompt's ids, ending where the assistant's turn opens."""
        return [*self.encode_turns(messages), self._start, *self._plain(f"assistant{self._format.after_role}")]

    def encode_turns(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Return the ids of whole turns: what a longer conversation begins with."""
        ids: list[int] = []
        for message in messages:
            ids += [self._start, *self._plain(f"{message.role}{self._format.after_role}{message.content}"), self._end]
            ids += self._plain(self._format.after_turn)
        return ids

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _id(self, token: str) -> int:
        found: int | None = self._tokenizer.token_to_id(token)
        if found is None:
            raise ValueError(f"the tokenizer has no token {token}")
        return found
