"""Versioned prompt templates: data in this package, rendered with the evidence as labelled data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import yaml

from headrace_generate.domain import Message

_FIELDS = re.compile(r"\{(question|quotes)\}")
# What delimits the data must not occur in it; readers of a prompt see a look-alike.
_NO_MARKUP = str.maketrans(
    "<>", "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
)


@dataclass(frozen=True)
class PromptTemplate:
    """One version of a prompt."""

    name: str
    system: str
    user: str

    def render(self, question: str, quotes: Sequence[str]) -> tuple[Message, ...]:
        """Return the conversation; quotes are numbered from 1, each on its line."""
        lines = [f"[{number}] {' '.join(quote.split())}" for number, quote in enumerate(quotes, 1)]
        filled = {"question": question.translate(_NO_MARKUP), "quotes": "\n".join(lines).translate(_NO_MARKUP)}
        user = _FIELDS.sub(lambda found: filled[found[1]], self.user)
        return Message("system", self.system), Message("user", user)


def load_prompt(name: str) -> PromptTemplate:
    """Read a template by name and version, such as `answer@1`."""
    file = resources.files(__name__) / f"{name}.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    return PromptTemplate(name, content["system"], content["user"])
