"""Output that follows a JSON schema or a regular expression: which tokens may come next, by llguidance.

A grammar is compiled where its job is submitted, within the library's own limits on items, states and steps, so that no
schema and no expression can hold the engine up for long (its expressions know no backtracking). Whoever cuts an output
at a number of tokens has to reckon with an unfinished one.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from headrace_inference.constraint import BadConstraintError, Constraint, Matcher
from headrace_inference.sampling import Allowed

TEXT_BYTES_MAX = 64 * 1024


class Grammars:
    """Grammars over one model's tokens. Opening reads the whole vocabulary: about a second for 49,152 tokens."""

    def __init__(self, tokenizer_file: Path, end_tokens: Sequence[int]) -> None:
        self._tokenizer = LLTokenizer(tokenizer_file.read_text("utf-8"), eos_token=sorted(end_tokens) or None)

    def matcher(self, constraint: Constraint) -> Matcher:
        """Compile a constraint. Raises BadConstraintError that says what is wrong with it."""
        if len(constraint.text.encode()) > TEXT_BYTES_MAX:
            raise BadConstraintError(f"more than {TEXT_BYTES_MAX} bytes")
        try:
            grammar = _grammar_of(constraint)
        except ValueError as error:
            raise BadConstraintError(str(error)) from error
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise BadConstraintError(matcher.get_error())
        return _GrammarMatcher(matcher)


class _GrammarMatcher:
    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def allowed(self) -> Allowed | None:
        allowed: Allowed = np.frombuffer(self._matcher.compute_logit_bias(), np.uint8) != 0
        if self._matcher.is_error():  # by now: one that reaches a limit here allows the end token, as if it were whole
            return None
        return allowed if allowed.any() else None

    def take(self, token: int) -> bool:
        return self._matcher.consume_token(token) and self._matcher.is_stopped()


def _grammar_of(constraint: Constraint) -> str:
    """Write a constraint as a grammar."""
    if constraint.kind == "regex":
        return LLMatcher.grammar_from_regex(constraint.text)
    return json_grammar(constraint.text)


def json_grammar(schema: str) -> str:
    """Write a schema as a grammar, laid out as json.dumps does: white space could fill the whole output."""
    return LLMatcher.grammar_from_json_schema(
        schema, overrides={"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    )
