"""A rail is one file and one line, as docs/adding-a-rail.md says."""

from __future__ import annotations

from headrace_moderate import rails
from headrace_moderate.domain.verdicts import Action, Subject

FILE = '''
"""Rail: text that shouts."""

import re

from headrace_moderate.domain.verdicts import Finding

def build(*, letters_min=20):
    """Look for runs of at least `letters_min` capitals."""
    pattern = re.compile(rf"[A-Z][A-Z ]{{{letters_min - 1},}}")

    def shouting(subject):
        return [Finding("capitals", *match.span(), mask="[shouting]") for match in pattern.finditer(subject.text)]

    return shouting
'''
LINE = "  - {rail: shouting, action: mask, options: {letters_min: 8}}\n"


def test_a_file_and_a_line_add_a_rail(tmp_path, monkeypatch):
    """Nothing else lists rails."""
    (tmp_path / "shouting.py").write_text(FILE)
    monkeypatch.setattr(rails, "__path__", [*rails.__path__, str(tmp_path)])
    declared = rails.default_declaration().replace("input: # questions\n", "input:\n" + LINE)

    verdict = rails.load_policy(declared).judge("input", Subject("WHERE IS THE mill?"))

    assert (verdict.action, verdict.text) == (Action.MASK, "[shouting]mill?")
    assert (verdict.findings[0].rail, verdict.findings[0].code) == ("shouting", "capitals")
