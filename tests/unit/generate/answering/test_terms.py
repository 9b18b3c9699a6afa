"""How text is read as words."""

import itertools

import pytest
from headrace_generate.answering.terms import content_stems, fold, stem, terms
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Été CAFÉ", ["ete", "cafe"]),
        ("1,234.5 km", ["1,234.5", "km"]),
        ("-5 °C", ["-5°", "c"]),
        ("3-5", ["3", "5"]),
        ("$1.5 million", ["$1.5", "million"]),
        ("70.4 % of 5th", ["70.4%", "of", "5th"]),
        ("6½ sacks", ["6½", "sacks"]),
        ("\N{FULLWIDTH DIGIT THREE}", ["3"]),
        ("don't", ["don", "t"]),
    ],
)
def test_words_are_folded_and_numbers_keep_what_makes_them(text: str, folded: list[str]) -> None:
    """Case and accents fold away; sign, currency, percent and fractions stay part of a number."""
    assert [term.folded for term in terms(text)] == folded


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("plays", "play"),
        ("studies", "study"),
        ("planned", "planning"),
        ("making", "make"),
        ("boxes", "box"),
        ("led", "led"),
    ],
)
def test_regular_inflections_share_a_stem(a: str, b: str) -> None:
    """Plural, past and participle of one word match."""
    assert stem(a) == stem(b)


@pytest.mark.parametrize(
    ("a", "b"), [("university", "universe"), ("organ", "organisation"), ("1990", "1990s"), ("process", "proces")]
)
def test_derivations_do_not_share_a_stem(a: str, b: str) -> None:
    """A derived word may mean something else."""
    assert stem(a) != stem(b)


def test_composed_and_decomposed_accents_are_the_same_word() -> None:
    """Unicode normal forms make no difference."""
    assert fold("Bogus\u0142awski\u00e9") == fold("Bogus\u0142awskie\u0301")


@given(st.text())
def test_terms_stand_where_they_say(text: str) -> None:
    """Spans lie in order, inside the text."""
    found = terms(text)
    assert all(0 <= a.start < a.end <= len(text) for a in found)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))


def test_glue_is_not_content() -> None:
    """Function words say nothing about the subject."""
    assert content_stems("What is the name of the gates?") == ("name", "gate")
