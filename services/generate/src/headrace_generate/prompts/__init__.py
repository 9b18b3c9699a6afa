"""Versioned prompt templates: data in this package, rendered with the evidence as labelled, delimited data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from headrace_generate.domain import Message

_FIELDS = re.compile(r"\{(question|quotes)\}")
# What delimits the data must not occur in it; a model reads the look-alike as well.
_NO_MARKUP = str.maketrans(
    "<>", "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
)


@dataclass(frozen=True)
class PromptTemplate:
    """One version of a prompt: `head` is the same for every request, `last` holds the places of the data."""

    name: str
    head: tuple[Message, ...]
    last: Message
    quote: str

    def render(self, question: str, quotes: Sequence[str]) -> tuple[Message, ...]:
        """Return the conversation; each quote is one line, and so is the question."""
        lines = [
            self.quote.replace("{number}", str(number)).replace("{text}", _one_line(quote))
            for number, quote in enumerate(quotes, 1)
        ]
        filled = {"question": _one_line(question), "quotes": "\n".join(lines)}
        content = _FIELDS.sub(lambda found: filled[found[1]], self.last.content)
        return *self.head, Message(self.last.role, content)


@cache  # one entry per file of this package
def load_prompt(name: str) -> PromptTemplate:
    """Read a template by name and version, such as `answer@1`. Raises FileNotFoundError for one that is not there."""
    file = resources.files(__name__) / f"{name}.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    *head, last = (Message(one["role"], one["content"]) for one in content["messages"])
    return PromptTemplate(name, tuple(head), last, content["quote"])


def _one_line(text: str) -> str:
    return " ".join(text.split()).translate(_NO_MARKUP)
