"""The models that may be asked for, declared in YAML: the built-in ones, and those of a user's file.

It says what a model is and where; opening it is the adapters' work, and prices are meter's.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import yaml
from headrace_errors import Refused
from pydantic import BaseModel, ConfigDict, Field, model_validator


class ModelCard(BaseModel):
    """One model.

    `source` is the model store's name (local); `base_url`, `model`, `provider` and a key make an endpoint (openai).
    `style` is `quote_first` for models that are trusted with the best quotes only, `free_with_check` for those that may
    write over more of them; the check is the same. `prompt` is a template by name and
    version, `quotes_max` how many quotes it sees. `concurrency_max` calls run at a time and `waiting_max` wait;
    others are told when to come back. `price_hint` tells people what a unit is; meter alone knows prices.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Literal["local", "openai", "null"]
    style: Literal["quote_first", "free_with_check"] = "quote_first"
    context_tokens: Annotated[int, Field(ge=64)]
    output_tokens_max: Annotated[int, Field(ge=1)]
    provider: str = "headrace"
    source: str = ""
    base_url: str = ""
    model: str = ""
    key_env: str = ""
    key_file: Path | None = None
    prompt: str = "answer@1"
    quotes_max: Annotated[int, Field(ge=1, le=10)] = 3
    concurrency_max: Annotated[int, Field(ge=1)] = 16
    waiting_max: Annotated[int, Field(ge=0)] = 64
    timeout_s: Annotated[float, Field(gt=0)] = 60.0
    attempts_max: Annotated[int, Field(ge=1, le=10)] = 3
    retry_wait_min_ms: Annotated[int, Field(ge=0)] = 200
    retry_wait_max_ms: Annotated[int, Field(ge=0)] = 5_000
    price_hint: str = "per million tokens"

    @model_validator(mode="after")
    def _complete(self) -> ModelCard:
        if self.kind == "local" and not self.source:
            raise ValueError(f"{self.name}: a local model needs `source`")
        if self.kind == "openai" and not (self.base_url and self.model and self.provider != "headrace"):
            raise ValueError(f"{self.name}: a hosted model needs `base_url`, `model` and `provider`")
        return self


class Catalogue(BaseModel):
    """All models, and the name of the one that is used when a request names none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: str
    models: tuple[ModelCard, ...]

    @model_validator(mode="after")
    def _default_is_known(self) -> Catalogue:
        self.find("")
        return self

    def find(self, name: str) -> ModelCard:
        """Return a model by name, the default for an empty one. Raises Refused `unknown_model`."""
        wanted = name or self.default
        for card in self.models:
            if card.name == wanted:
                return card
        raise Refused(f"there is no model {wanted[:64]!r}", reason="unknown_model")


def load_catalogue(user_file: Path | None = None, default: str = "") -> Catalogue:
    """Read the built-in models, then `user_file`, whose models add to them or take the place of those of their name.

    `default` overrides what the files say. Raises ValueError that names what is wrong.
    """
    files = [resources.files("headrace_generate") / "models.yaml"]
    cards: dict[str, Mapping[str, object]] = {}
    named = default
    for file in [*files, *([user_file] if user_file else [])]:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        cards |= {card["name"]: card for card in content.get("models", [])}
        named = default or content.get("default", named)
    return Catalogue.model_validate({"default": named, "models": list(cards.values())})
