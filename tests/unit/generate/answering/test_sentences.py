"""How a passage is cut into the units that may be quoted."""

import pytest
from headrace_generate.answering.sentences import UNIT_CHARS_MAX, UnitKind, split_units
from hypothesis import given
from hypothesis import strategies as st

LINES = st.sampled_from(
    [
        "# Title",
        "Title",
        "=====",
        "---",
        "- item one. And more",
        "1. first",
        "> quoted. text",
        "| a | b |",
        "|---|---|",
        "a | b",
        "```python",
        "```",
        "Mr. Smith paid 3.5 million. He left!",
        "  indented",
        "",
        "\t",
        "日本語。文です。",
        "e.g. this one? Yes…",
        "\u2028",
        "<!-- note -->",
    ]
)
DOCUMENTS = st.one_of(st.text(), st.lists(LINES, max_size=12).map("\n".join))


@given(DOCUMENTS)
def test_every_unit_is_verbatim_in_order_and_nothing_but_white_space_is_left_out(text: str) -> None:
    """Whatever the text, `text[start:end] == unit.text`, spans ascend, and all that is visible is in one."""
    units = split_units(text)
    position = 0
    for unit in units:
        assert text[unit.start : unit.end] == unit.text
        assert unit.text == unit.text.strip()
        assert unit.text
        assert not text[position : unit.start].strip()
        position = unit.end
    assert not text[position:].strip()


@given(
    st.lists(st.sampled_from(["word ", "x" * 300, "\n", "- item "]), max_size=40).map(lambda parts: "".join(parts * 9))
)
def test_no_unit_is_too_long_to_quote(text: str) -> None:
    """A long run without a full stop is cut at lines and words."""
    assert all(len(unit.text) <= UNIT_CHARS_MAX for unit in split_units(text))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It rained. We left.", ["It rained.", "We left."]),
        ("Dr. Ada Lovelace met Mr. J. Watt in St. Ives.", ["Dr. Ada Lovelace met Mr. J. Watt in St. Ives."]),
        ("It costs 3.50 euros, i.e. little. Fine.", ["It costs 3.50 euros, i.e. little.", "Fine."]),
        ("The U.S. Senate voted. It passed.", ["The U.S. Senate voted.", "It passed."]),
        ('She said "Go!" and went. "Stop." He did.', ['She said "Go!" and went.', '"Stop."', "He did."]),
        ("Founded in 1824.[3] Closed later.", ["Founded in 1824.[3]", "Closed later."]),
        ("What? Yes! Well… maybe.", ["What?", "Yes!", "Well… maybe."]),
        ("今日は晴れ。明日は雨。", ["今日は晴れ。", "明日は雨。"]),
        ("A line\nthat is wrapped. Another\none.", ["A line\nthat is wrapped.", "Another\none."]),
    ],
)
def test_prose_is_cut_where_sentences_end(text: str, sentences: list[str]) -> None:
    """Abbreviations, initials, decimals and ellipses do not end a sentence; a wrapped line does not either."""
    assert [unit.text for unit in split_units(text)] == sentences


def test_headings_are_context_and_no_evidence() -> None:
    """A unit knows the headings above it; a heading of the same level replaces the last one and those below it."""
    text = "# Guide\n\n## Install\nRun it.\n\n### Linux\nUse make.\n\n## Remove\nDelete it.\n\nAppendix\n--------\nEnd."
    found = {unit.text: unit.context for unit in split_units(text) if unit.kind.quotable}
    assert found == {
        "Run it.": ("Guide", "Install"),
        "Use make.": ("Guide", "Install", "Linux"),
        "Delete it.": ("Guide", "Remove"),
        "End.": ("Guide", "Appendix"),
    }


def test_a_list_item_is_quoted_without_its_marker() -> None:
    """Bullets, numbers and quotation marks of Markdown are markup beside the text."""
    text = "Steps:\n- Open the gate\n  slowly.\n2. Close it.\n> Mind the water."
    assert [unit.text for unit in split_units(text) if unit.kind is UnitKind.ITEM] == [
        "Open the gate\n  slowly.",
        "Close it.",
        "Mind the water.",
    ]


def test_a_table_row_is_a_unit_with_its_column_heads() -> None:
    """The row above a delimiter row names the columns; the delimiter row is markup."""
    text = "| name | price |\n|---|---|\n| gate | 5 |\n| wheel | 9 |"
    assert [(unit.text, unit.context) for unit in split_units(text) if unit.kind.quotable] == [
        ("| gate | 5 |", ("| name | price |",)),
        ("| wheel | 9 |", ("| name | price |",)),
    ]


def test_a_passage_that_starts_inside_a_table_has_rows_and_no_column_heads() -> None:
    """A chunk may begin anywhere; its first row is then not taken for the heads."""
    assert [unit.context for unit in split_units("| gate | 5 |\n| wheel | 9 |")] == [(), ()]


def test_fenced_code_is_one_unit_that_says_so() -> None:
    """Comments in code are not headings, and nothing in it is cut into sentences."""
    text = "Do this:\n```sh\n# not a heading\nmake. Now.\n```\nDone."
    kinds = [(unit.kind, unit.text) for unit in split_units(text)]
    assert kinds[1] == (UnitKind.CODE, "```sh\n# not a heading\nmake. Now.\n```")
    assert kinds[2] == (UnitKind.SENTENCE, "Done.")


def test_a_diagram_without_a_fence_is_no_prose() -> None:
    """Boxes and arrows hold words and say no sentence."""
    text = "ingest ──▶ embed ──▶ retrieve\n   │        ▲\n   └────────┘"
    assert [unit.kind for unit in split_units(text)] == [UnitKind.CODE]


def test_a_passage_that_starts_inside_code_knows_it_at_the_closing_fence() -> None:
    """An odd number of fences, the first one bare, means that the block began before the passage."""
    assert [unit.kind for unit in split_units("x = 1.\n```\nDone.")] == [UnitKind.CODE, UnitKind.SENTENCE]


def test_a_drawing_is_code_even_where_its_fences_are_elsewhere() -> None:
    """A passage that begins inside a diagram offers its lines as code, and the prose after it as prose."""
    units = split_units("a ── asks ──▶ b\n   └── answers ──┘\n\nThe answer comes back to its asker.\n")
    assert [unit.kind for unit in units] == [UnitKind.CODE, UnitKind.SENTENCE]
