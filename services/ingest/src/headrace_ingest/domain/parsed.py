"""What a parser returns, what it may raise, the limits it keeps to. Parsing itself is in `headrace_ingest.parsers`."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a submission or a document version failed: stable codes, part of the contract with producers."""

    BAD_NAME = "bad_name"
    EMPTY = "empty"
    ENCRYPTED = "encrypted"
    INTERNAL_ERROR = "internal_error"
    INVALID_REQUEST = "invalid_request"
    NOT_DELETED = "not_deleted"
    NOT_TEXT = "not_text"
    OUT_OF_MEMORY = "out_of_memory"
    PARSER_CRASHED = "parser_crashed"
    SUPERSEDED = "superseded"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    TOO_MANY_PAGES = "too_many_pages"
    UNKNOWN_DOCUMENT = "unknown_document"
    UNKNOWN_PRINCIPAL = "unknown_principal"
    UNKNOWN_TENANT = "unknown_tenant"
    UNREADABLE = "unreadable"
    UNSUPPORTED_TYPE = "unsupported_type"


class ParsingError(Exception):
    """A document that cannot become text. `detail` is for people and never quotes the document."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class ParseLimits:
    """What a parser refuses to go beyond, checked before the work is done wherever the format allows it."""

    pages_max: int = 2_000
    unpacked_bytes_max: int = 256 * 1024 * 1024
    text_chars_max: int = 52_428_800


@dataclass(frozen=True, slots=True)
class Page:
    """A page's span of the text, in code points. Pages are in order and do not overlap; separators lie between them."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """The stored text of a document. Every span in Headrace counts Unicode code points of `text`."""

    text: str
    pages: tuple[Page, ...] = ()
    title: str = ""
