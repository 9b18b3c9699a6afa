"""What may be a document's name, and how a refused one is shown."""

import pytest
from headrace_ingest.domain.names import NAME_BYTES_MAX, check_name, shown_name
from headrace_ingest.domain.parsed import ParsingError, Reason
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    "name", ["a.txt", "handbook/water/intake.md", "résumé.pdf", "نیم‌فاصله.txt", "a b/..c", "日本.html"]
)
def test_an_ordinary_relative_path_is_kept_as_it_is(name: str) -> None:
    """No folding, no normalisation."""
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            " ",
            "a\x00.txt",
            "\x00",
            "../a.txt",
            "a/../b.txt",
            "a/./b",
            "a//b",
            "a/",
            "/etc/passwd",
            "C:/a",
            "a\\..\\b",
        ),
        *(
            "a\nb.txt",
            "a\x1b[31m.txt",
            "safe\u202etxt.exe",
            "a\u2028b",
            "\udcff.txt",
            "a/ /b",
            "x" * (NAME_BYTES_MAX + 1),
        ),
    ],
)
def test_a_name_that_deceives_or_escapes_is_refused(name: str) -> None:
    """NUL, traversal, absolute paths, controls, direction overrides, undecodable bytes, length."""
    with pytest.raises(ParsingError) as refused:
        check_name(name)
    assert refused.value.reason is Reason.BAD_NAME


@given(st.text(max_size=400))
def test_a_shown_name_is_short_and_safe(name: str) -> None:
    """Whatever was sent, its shown form has no control in it and can be encoded."""
    shown = shown_name(name)
    assert shown.encode()
    assert shown.isprintable() or all(not ord(char) < 32 for char in shown)
