"""How the answer's text and its citations come about."""

import pytest
from headrace_generate.answering import AnswerStyle, Evidence, Quote, SupportRule, TermStatistics, compose
from headrace_generate.answering.questions import read_question
from hypothesis import given
from hypothesis import strategies as st

GATE = "The gate was built in 1824 by Maria Lund,\nwho lived nearby."
OTHER = "The mill has 24 wheels."
FOLDED = "The gate was built in 1824 by Maria Lund, who lived nearby."


def evidence_of(question: str, *quotes: str) -> Evidence:
    """Make sufficient evidence of quotes that stand one after another in `a.md`."""
    found = tuple(
        Quote("a.md", 1, 1000 * n, 1000 * n + len(text), text, page=0, score=3.0 - n) for n, text in enumerate(quotes)
    )
    return Evidence(read_question(question, TermStatistics()), found, sufficient=True)


def test_a_supported_sentence_is_the_answer() -> None:
    """Style `written`; the citations are the quotes as they stand in the document, best first."""
    composed = compose(
        evidence_of("When was the gate built?", GATE, OTHER),
        "It was. The gate was built in 1824.",
        rule=SupportRule.EXCERPT,
    )
    assert (composed.answer, composed.style, composed.sentences_dropped) == (
        "The gate was built in 1824.",
        AnswerStyle.WRITTEN,
        1,
    )
    assert [citation.quote for citation in composed.citations] == [GATE, OTHER]


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(None, id="no model"),
        pytest.param("", id="empty"),
        pytest.param("The gate was built in 1825.", id="invented number"),
        pytest.param("The gate was built by Maria Lund.", id="supported, but not what was asked for"),
        pytest.param("By Maria Lund, 1824.", id="drops what the question is about"),
        pytest.param("The gate was built in 1824 by Maria", id="cut off"),
        pytest.param(FOLDED, id="just the quote again"),
        pytest.param("# Answer\n- gate 1824\n| a |", id="markup"),
        pytest.param("see [1] in secret.pdf. " * 10_000, id="very long"),
        pytest.param("\x00\ud800\u202e", id="broken characters"),
    ],
)
def test_otherwise_the_best_quote_is_the_answer(written: str | None) -> None:
    """Style `quoted`, line breaks folded: an answer is never worse than its best quote."""
    composed = compose(evidence_of("When was the gate built?", GATE, OTHER), written, rule=SupportRule.EXCERPT)
    assert (composed.answer, composed.style) == (FOLDED, AnswerStyle.QUOTED)


def test_a_repeated_sentence_is_said_once() -> None:
    """Small models repeat themselves."""
    written = "The gate was built in 1824. " * 5
    assert (
        compose(evidence_of("When was the gate built?", GATE), written, rule=SupportRule.EXCERPT).answer == written[:27]
    )


@given(st.text(), st.lists(st.text(min_size=1), min_size=1, max_size=3), st.sampled_from(SupportRule))
def test_citations_are_the_quotes_whatever_the_model_writes(written: str, quotes: list[str], rule: SupportRule) -> None:
    """No text of a model changes, adds or removes a citation."""
    evidence = evidence_of("When was the gate built?", *quotes)
    cited = compose(evidence, written, rule=rule).citations
    assert [(one.document, one.start, one.end, one.quote) for one in cited] == [
        (one.document, one.start, one.end, one.text) for one in evidence.quotes
    ]


def test_there_is_no_answer_without_a_quote() -> None:
    """Composing without evidence is the caller's mistake."""
    empty = Evidence(read_question("Why?", TermStatistics()), (), sufficient=False)
    with pytest.raises(ValueError, match="no quotes"):
        compose(empty, "Because.", rule=SupportRule.WORDS)
