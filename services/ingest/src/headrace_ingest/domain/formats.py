"""Which parser reads which document. A format names its parser's module; nothing is imported here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from headrace_ingest.domain.parsed import ParsingError, Reason


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of document: the module with `parse(content, limits)`, the file endings and media types that it reads."""

    name: str
    module: str
    extensions: tuple[str, ...]
    media_types: tuple[str, ...]


def find_format(formats: Sequence[Format], document: str, media_type: str = "") -> Format:
    """Return the format by media type if that is a known one, else by the name's ending.

    Raises ParsingError(UNSUPPORTED_TYPE) when neither is known.
    """
    plain_type = media_type.partition(";")[0].strip().lower()
    extension = PurePosixPath(document).suffix.lower()
    by_type = (candidate for candidate in formats if plain_type in candidate.media_types)
    by_extension = (candidate for candidate in formats if extension in candidate.extensions)
    found = next(by_type, None) or next(by_extension, None)
    if found is None:
        known = ", ".join(sorted(ending for candidate in formats for ending in candidate.extensions))
        raise ParsingError(Reason.UNSUPPORTED_TYPE, f"no parser for this type; known: {known}")
    return found
