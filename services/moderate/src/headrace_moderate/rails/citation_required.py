"""Rail: an answer that stands on no quote. Whether a quote supports the answer was checked before the draft."""

from __future__ import annotations

from collections.abc import Sequence

from headrace_moderate.domain.verdicts import Finding, Rail, Subject


def build(*, citations_min: int = 1) -> Rail:
    """Ask for at least `citations_min` citations; a text for which citations make no sense is left alone."""

    def citation_required(subject: Subject) -> Sequence[Finding]:
        if subject.citations is None or subject.citations >= citations_min:
            return ()
        return (Finding("uncited", 0, len(subject.text)),)

    return citation_required
