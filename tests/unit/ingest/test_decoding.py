"""From bytes to text: certain, or refused."""

import codecs

import pytest
from headrace_ingest.domain.parsed import ParsingError, Reason
from headrace_ingest.parsers.decoding import decode
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200)


@given(TEXT)
def test_utf8_is_kept_unchanged(text: str) -> None:
    """Line ends, odd spaces and all; a byte order mark is no text."""
    assert decode((f"{text}\r\n").encode()) in {f"{text}\r\n", f"{text}\r\n".removeprefix("\ufeff")}


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_byte_order_mark_decides(mark: bytes, encoding: str) -> None:
    """And is not part of the text."""
    assert decode(mark + "Wehr 😀 Überlauf".encode(encoding)) == "Wehr 😀 Überlauf"


def test_western_european_bytes_are_read_as_windows_1252() -> None:
    """It is what such files are, and its quotes and dashes are no controls."""
    text = "The weir\u2019s gate \u2013 d\u00e9j\u00e0 vu, 20 \u20ac"
    assert decode(text.encode("cp1252")) == text


@pytest.mark.parametrize(
    "content",
    [
        "Затвор водослива открыт".encode("cp1251"),
        "水門が開いている".encode("shift_jis"),
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
        bytes(range(256)),
        b"looks like text\x00but is not",
        b"\x01\x02\x03\x04" * 20,
        codecs.BOM_UTF16_LE + b"\x00\xd8a",
    ],
)
def test_what_is_not_certain_is_refused(content: bytes) -> None:
    """Rather no document than one that nobody wrote."""
    with pytest.raises(ParsingError) as refused:
        decode(content)
    assert refused.value.reason is Reason.NOT_TEXT


def test_a_declared_encoding_is_used_where_utf8_fails() -> None:
    """And an unknown one is ignored."""
    assert decode("Затвор".encode("koi8-r"), "koi8-r") == "Затвор"
    assert decode("déjà vu all over".encode("cp1252"), "no-such-thing") == "déjà vu all over"
