"""Which quotes are chosen, and when they are enough."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from headrace_generate.answering import EvidencePolicy, Passage, TermStatistics, quotes_as_data, select_evidence
from headrace_generate.answering.passages import stitch
from headrace_generate.answering.questions import Wanted, read_question
from headrace_generate.answering.terms import content_stems
from hypothesis import given
from hypothesis import strategies as st

POLICY = EvidencePolicy(threshold=2.0)
NOTHING_KNOWN = TermStatistics()


class WordVectors:
    """Embeds a text as the set of its words: alike means sharing words. Counts its calls."""

    def __init__(self) -> None:
        self.calls: list[Sequence[str]] = []

    async def __call__(self, texts: Sequence[str], /) -> npt.NDArray[np.float32]:
        self.calls.append(texts)
        vectors = np.full((len(texts), 256), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in content_stems(text):
                vectors[row, sum(word.encode()) % 256] = 1.0
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def passage(text: str, *, document: str = "mill.md", start: int = 0) -> Passage:
    return Passage(document, 1, f"{document}:{start}", start, start + len(text), text)


async def select(question: str, *passages: Passage, policy: EvidencePolicy = POLICY):
    return await select_evidence(question, passages, NOTHING_KNOWN, embed=WordVectors(), policy=policy)


async def test_the_sentence_that_answers_is_quoted_first() -> None:
    """Its span counts from the document's beginning."""
    text = "The mill is old. The gate of the mill was built in 1824. Fish live in the river."
    evidence = await select("When was the gate built?", passage(text, start=500))
    best = evidence.quotes[0]
    assert (best.text, best.start) == ("The gate of the mill was built in 1824.", 500 + text.index("The gate"))
    assert evidence.sufficient


async def test_a_sentence_that_points_back_is_quoted_with_the_one_before() -> None:
    """`It was rebuilt in 1901` alone says nothing."""
    evidence = await select(
        "When was the gate rebuilt?", passage("The gate burnt down. It was rebuilt in 1901. Fish live there.")
    )
    assert evidence.quotes[0].text == "The gate burnt down. It was rebuilt in 1901."


async def test_a_question_that_the_passages_do_not_answer_has_no_evidence() -> None:
    """The quotes are still told, for whoever looks into it."""
    evidence = await select(
        "What is the boiling point of tungsten?", passage("The mill is old. Fish live in the river.")
    )
    assert not evidence.sufficient


async def test_without_passages_nothing_is_embedded() -> None:
    """No call, no quote, no evidence."""
    embed = WordVectors()
    evidence = await select_evidence("Why?", (), NOTHING_KNOWN, embed=embed, policy=POLICY)
    assert (evidence.quotes, evidence.sufficient, evidence.score, embed.calls) == ((), False, 0.0, [])


async def test_one_call_embeds_the_question_and_every_candidate_once() -> None:
    """The embedding service is asked once a question, in bounded size."""
    embed = WordVectors()
    passages = [passage("Same words here. " * 200, document=f"{n}.md") for n in range(9)]
    await select_evidence("Which words?", passages, NOTHING_KNOWN, embed=embed, policy=POLICY)
    assert len(embed.calls) == 1
    assert len(embed.calls[0]) == len(set(embed.calls[0]))


async def test_headings_lead_to_a_quote_and_are_not_quoted() -> None:
    """A heading's words count for what stands below it."""
    text = "# Mill\n## Opening hours\nFrom 9 to 5.\n## Prices\nFrom 4 to 8 coins."
    evidence = await select(
        "What are the opening hours of the mill?", passage(text), policy=EvidencePolicy(threshold=0)
    )
    assert evidence.quotes[0].text == "From 9 to 5."
    assert evidence.quotes[0].headings == ("Mill", "Opening hours")


async def test_code_is_quoted_only_when_prose_does_not_say_it() -> None:
    """Of two units with the same words the prose comes first."""
    text = "```\nopen the gate slowly\n```\n\nOpen the gate slowly!"
    evidence = await select("How does one open the gate?", passage(text), policy=EvidencePolicy(threshold=0))
    assert evidence.quotes[0].text == "Open the gate slowly!"


async def test_quotes_become_data_for_a_prompt_without_line_breaks() -> None:
    """A prompt's lines stay its own."""
    evidence = await select("When was the gate built?", passage("The gate was\nbuilt in\t1824. The wheel is new."))
    assert quotes_as_data(evidence, quotes_max=1) == ("The gate was built in 1824.",)


@given(st.lists(st.text(max_size=200), max_size=4), st.text(max_size=40))
async def test_every_quote_is_verbatim_in_its_document(texts: list[str], question: str) -> None:
    """Whatever the passages, `stored[start:end] == quote`."""
    stored = {f"{n}.md": "\u00e9 " * n + text for n, text in enumerate(texts)}
    passages = [
        replace(passage(text[2 * n :], document=name, start=2 * n)) for n, (name, text) in enumerate(stored.items())
    ]
    evidence = await select(question, *passages, policy=EvidencePolicy(threshold=-9))
    for quote in evidence.quotes:
        assert stored[quote.document][quote.start : quote.end] == quote.text


@given(st.text(min_size=1, max_size=60), st.data())
def test_overlapping_passages_become_one_and_stay_verbatim(text: str, data: st.DataObject) -> None:
    """Stitching spans of one text gives spans of that text that no longer touch."""
    bounds = st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(sorted)
    spans = data.draw(st.lists(bounds, max_size=6))
    stitched = stitch(Passage("a.md", 1, "", a, b, text[a:b]) for a, b in spans)
    assert all(text[one.start : one.end] == one.text for one in stitched)
    ordered = sorted(stitched, key=lambda one: one.start)
    assert all(a.end < b.start for a, b in itertools.pairwise(ordered))


def test_passages_of_other_documents_and_versions_are_left_apart() -> None:
    """The same span elsewhere is another text."""
    here = Passage("a.md", 1, "", 0, 3, "abc")
    assert len(stitch([here, replace(here, version=2), replace(here, document="b.md")])) == 3


def test_rare_terms_weigh_more_and_foreign_stems_are_found() -> None:
    """The store may report `intercept` for `interceptions`; what it does not report occurs nowhere."""
    question = read_question(
        "Unheard interceptions in the season?", TermStatistics({"intercept": 2, "season": 90}, 100)
    )
    weights = {key[:5]: weight for key, weight in question.weights.items()}
    assert weights["inter"] > weights["seaso"]
    assert weights["unhea"] > weights["inter"]


def test_cues_tell_what_is_wanted() -> None:
    """An amount, a time, a name, or anything."""
    asked = ("How many gates?", "When did it open?", "Who built it?", "What is it?")
    assert [read_question(text, NOTHING_KNOWN).wanted for text in asked] == list(Wanted)


def test_a_repeated_name_does_not_answer_who() -> None:
    """Only a name that the question did not say itself answers it."""
    question = read_question("Who beat the Broncos?", NOTHING_KNOWN)
    assert not question.answered_by("They beat the Broncos.")
    assert question.answered_by("In the end, the Panthers beat the Broncos.")
