"""The heads that prompts share, kept so that they are read once. Bounded in tokens; the longest unused goes first."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

Tokens = tuple[int, ...]


class PromptHeads:
    """Kept heads by their tokens. What is kept is the model's own matter.

    `tokens_max` bounds the sum of their lengths, and so their memory: as much a token as in a slot.
    """

    def __init__(self, tokens_max: int) -> None:
        self._tokens_max = tokens_max
        self._kept: OrderedDict[Tokens, Any] = OrderedDict()

    @property
    def tokens(self) -> int:
        """Tokens kept now."""
        return sum(map(len, self._kept))

    def find(self, prompt: Sequence[int], head_tokens: int) -> tuple[Tokens, Any] | None:
        """Return a prompt's head with what was kept of it, if it is here. Tokens decide, not what a job says."""
        head = tuple(prompt[:head_tokens])
        if head not in self._kept:
            return None
        self._kept.move_to_end(head)
        return head, self._kept[head]

    def keep(self, head: Tokens, copy: Callable[[], Any]) -> None:
        """Keep a head, `copy` giving what to keep of it; one that is here, empty or too long is left."""
        if not head or head in self._kept or len(head) > self._tokens_max:
            return
        while self.tokens + len(head) > self._tokens_max:
            self._kept.popitem(last=False)
        self._kept[head] = copy()
