"""The frames between the service and a parsing child: a length, a small JSON header, then parts sized by the header.

Never pickle: the child has read hostile bytes, so the service treats what it says as hostile, too.
"""

import json
import struct
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headrace_ingest.domain.chunking import ChunkedDocument, Span
from headrace_ingest.domain.parsed import Page, ParsedDocument

LENGTH = struct.Struct(">I")
HEADER_BYTES_MAX = 65_536
_TITLE_CHARS_MAX = 300
_NUMBER = "I"  # spans and pages travel as triples of these


class WireError(Exception):
    """A frame that no honest peer would have sent."""


def frame(header: Mapping[str, Any], *parts: bytes) -> Sequence[bytes]:
    """Return the pieces of a frame; the header gains `sizes`."""
    encoded = json.dumps({**header, "sizes": [len(part) for part in parts]}).encode()
    return (LENGTH.pack(len(encoded)), encoded, *parts)


def header_of(encoded: bytes, sizes_max: Sequence[int]) -> dict[str, Any]:
    """Return a frame's header after checking that it has as many parts as sizes are allowed, each within its size.

    Raises WireError.
    """
    try:
        header: dict[str, Any] = json.loads(encoded)
        sizes = [int(size) for size in header["sizes"]]
    except (ValueError, KeyError, TypeError) as error:
        raise WireError("unreadable header") from error
    if len(sizes) > len(sizes_max) or any(not 0 <= size <= most for size, most in zip(sizes, sizes_max, strict=False)):
        raise WireError("parts of an unexpected size")
    return header


def pack_document(chunked: ChunkedDocument) -> Sequence[bytes]:
    """Return the frame of a result."""
    document = chunked.document
    spans = _packed((span.start, span.end, span.tokens) for span in chunked.spans)
    pages = _packed((page.number, page.start, page.end) for page in document.pages)
    return frame({"title": document.title[:_TITLE_CHARS_MAX]}, document.text.encode(), spans, pages)


def unpack_document(header: Mapping[str, Any], text: bytes, spans: bytes, pages: bytes) -> ChunkedDocument:
    """Return the result of a frame. Raises WireError unless spans and pages are ordered spans of the text."""
    try:
        document = ParsedDocument(
            text.decode(), tuple(Page(*triple) for triple in _triples(pages)), str(header["title"])
        )
        chunked = ChunkedDocument(document, tuple(Span(*triple) for triple in _triples(spans)))
    except (ValueError, KeyError) as error:
        raise WireError("unreadable result") from error
    for ordered in (chunked.spans, document.pages):
        _check_order(ordered, len(document.text))
    return chunked


def _packed(triples: Iterable[tuple[int, int, int]]) -> bytes:
    return array(_NUMBER, (number for triple in triples for number in triple)).tobytes()


def _triples(packed: bytes) -> Iterable[tuple[int, int, int]]:
    numbers = array(_NUMBER)
    numbers.frombytes(packed)
    return zip(numbers[0::3], numbers[1::3], numbers[2::3], strict=True)


def _check_order(spans: Sequence[Span] | Sequence[Page], length: int) -> None:
    position = 0
    for span in spans:
        if not position <= span.start <= span.end <= length:
            raise WireError("spans out of order")
        position = span.end
