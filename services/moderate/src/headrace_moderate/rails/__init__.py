"""The rails, one file each, and the policy that declares which of them run where.

A rail module offers `build(**options) -> Rail`. The line that names it in the YAML is its registration: nothing else
lists rails. The default declaration is `rails.yaml` beside this file; a setting names another.
"""

from __future__ import annotations

import importlib
import importlib.resources
import pkgutil
from collections.abc import Mapping
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headrace_moderate.domain.verdicts import STAGES, Action, Policy, Rail, Stage, Step


class RailsInvalid(ValueError):
    """The declaration cannot be used; the message says which line and why."""


class _Declared(BaseModel):
    """One line of the declaration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rail: str
    action: Literal["allow", "flag", "mask", "block"]
    threshold: float = Field(0.0, ge=0.0, le=1.0)
    options: dict[str, Any] = Field(default_factory=dict)
    reasons: dict[str, str] = Field(default_factory=dict)


def default_declaration() -> str:
    """Return the YAML that the package ships."""
    return importlib.resources.files(__package__).joinpath("rails.yaml").read_text(encoding="utf-8")


def load_policy(declaration: str) -> Policy:
    """Build the policy that a YAML text declares; RailsInvalid where it cannot be used.

    Every stage must be named, an empty one by `[]`: a stage that is merely forgotten would let everything pass.
    """
    try:
        stages = yaml.safe_load(declaration)
    except yaml.YAMLError as error:
        raise RailsInvalid(f"the declaration is not YAML: {error}") from None
    if not isinstance(stages, Mapping) or set(stages) != set(STAGES):
        raise RailsInvalid(f"the declaration must name exactly the stages {', '.join(STAGES)}")
    return Policy(
        {stage: tuple(_step(stage, i, line) for i, line in enumerate(stages[stage] or ())) for stage in STAGES}
    )


def _step(stage: Stage, index: int, line: object) -> Step:
    where = f"{stage}[{index}]"
    try:
        declared = _Declared.model_validate(line)
        rail = _build(declared)
    except (ValidationError, TypeError, ValueError) as error:
        raise RailsInvalid(f"{where}: {error}") from None
    action = Action[declared.action.upper()]
    return Step(declared.rail, rail, action, declared.threshold, declared.reasons)


def _build(declared: _Declared) -> Rail:
    if declared.rail not in {module.name for module in pkgutil.iter_modules(__path__)}:
        raise RailsInvalid(f"there is no rail {declared.rail!r} in {__package__}")
    rail: Rail = importlib.import_module(f"{__package__}.{declared.rail}").build(**declared.options)
    return rail
