"""How a text is cut: exact spans, nothing lost, nothing too long, at boundaries a reader would choose."""

from collections.abc import Sequence

import pytest
from headrace_ingest.adapters.tokenizers import WordTokens
from headrace_ingest.domain.chunking import ChunkSize, Span, cut, page_of
from headrace_ingest.domain.parsed import Page
from hypothesis import given
from hypothesis import strategies as st

SMALL = ChunkSize(tokens_max=12, chars_max=90)
PIECES = st.sampled_from(
    [
        "word",
        "Water flows.",
        " ",
        "\n",
        "\n\n",
        "# Head\n",
        "- item\n",
        "\r\n",
        "é",
        "😀",
        "漢字。",
        "x" * 200,
        "\u00a0",
        "!?",
        "\t",
    ]
)


class JoiningTokens(WordTokens):
    """Counts one more token for a text cut inside a word, as subword tokenizers can."""

    def counts(self, texts: Sequence[str]) -> Sequence[int]:
        """Return the words and one."""
        return [count + 1 for count in super().counts(texts)]


def assert_sound(text: str, spans: Sequence[Span], size: ChunkSize) -> None:
    """Hold spans to everything that `cut` promises."""
    position = 0
    for span in spans:
        assert not text[position : span.start].strip(), "only spaces are left out, and spans do not overlap"
        piece = text[span.start : span.end]
        assert piece
        assert piece == piece.strip()
        assert 1 <= span.tokens <= size.tokens_max
        assert len(piece) <= size.chars_max
        position = span.end
    assert not text[position:].strip()


@given(st.lists(PIECES, max_size=80).map("".join))
def test_spans_are_exact_ordered_and_leave_out_only_spaces(text: str) -> None:
    """For any text, in code points."""
    assert_sound(text, list(cut(text, WordTokens(), SMALL)), SMALL)


@given(st.text(max_size=300))
def test_no_text_breaks_the_promise(text: str) -> None:
    """Not even one that nobody would write."""
    assert_sound(text, list(cut(text, WordTokens(), SMALL)), SMALL)


@given(st.lists(PIECES, max_size=80).map("".join))
def test_what_a_cut_made_longer_is_cut_again(text: str) -> None:
    """A tokenizer may count more tokens for a part than for the part within the whole."""
    assert_sound(text, list(cut(text, JoiningTokens(), SMALL)), SMALL)


def test_a_text_longer_than_a_window_is_cut_as_one() -> None:
    """Windows are an implementation matter: the chunks around their ends are as full as the others."""
    text = "The headrace carries water to the turbine hall. " * 3_000
    size = ChunkSize(tokens_max=100, chars_max=1_600)
    spans = list(cut(text, WordTokens(), size))
    assert_sound(text, spans, size)
    assert min(span.tokens for span in spans[:-1]) > 70


def test_an_endless_word_does_not_make_an_endless_chunk() -> None:
    """Even where the tokenizer takes it for a single token."""
    size = ChunkSize(tokens_max=10, chars_max=50)
    spans = list(cut("y" * 1_000, WordTokens(), size))
    assert_sound("y" * 1_000, spans, size)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("# One\nalpha beta gamma\n# Two\nalpha beta gamma delta epsilon zeta eta", "# One\nalpha beta gamma"),
        (
            "alpha beta gamma delta epsilon\n\nzeta eta theta iota kappa lambda my ny xi",
            "alpha beta gamma delta epsilon",
        ),
        ("Alpha beta gamma delta epsi. Zeta eta theta\niota kap lambda my ny xi omi", "Alpha beta gamma delta epsi."),
        (
            "alpha beta gamma delta epsi zeta eta\ntheta iota kappa lam my ny xi omi",
            "alpha beta gamma delta epsi zeta eta",
        ),
    ],
)
def test_the_strongest_boundary_wins(text: str, first: str) -> None:
    """Heading, then paragraph, then sentence, then line."""
    start, end = next((span.start, span.end) for span in cut(text, WordTokens(), SMALL))
    assert text[start:end] == first


def test_a_chunk_knows_the_page_that_it_begins_on() -> None:
    """Separators belong to the page before them; no pages is page 0."""
    pages = (Page(1, 0, 10), Page(2, 12, 20), Page(3, 22, 22), Page(4, 24, 30))
    assert [page_of(pages, start) for start in (0, 9, 11, 12, 19, 22, 24, 29)] == [1, 1, 1, 2, 2, 3, 4, 4]
    assert page_of((), 5) == 0
