"""Document names: the path relative to a root that, with the tenant, identifies a document.

A name is compared as it is: no case folding and no Unicode normalisation, because two files that differ only there are
two files.
"""

import unicodedata

from headrace_ingest.domain.parsed import ParsingError, Reason

NAME_BYTES_MAX = 1_024
_CONTROLS = {"Cc", "Cs", "Zl", "Zp"}  # controls, lone surrogates, line and paragraph separators
_DIRECTION_OVERRIDES = set(
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)  # they make `txt.exe` look like `exe.txt`
_SHOWN_CHARS_MAX = 200


def check_name(name: str) -> str:
    """Return the name if it is safe to keep, show and use in a key.

    Raises ParsingError(BAD_NAME): empty, too long, not relative, `.` or `..` or an empty part, a backslash, or a
    character that deceives whoever reads it.
    """
    if not name.strip():
        raise _bad("the name is empty")
    if any(_hidden(char) for char in name):
        raise _bad("the name holds a control character or a direction override")
    if len(name.encode()) > NAME_BYTES_MAX:
        raise _bad(f"the name is longer than {NAME_BYTES_MAX} bytes")
    if "\\" in name or name.startswith("/") or name[1:3] == ":/":
        raise _bad("the name must be a relative path with forward slashes")
    if any(part in {"", ".", ".."} or not part.strip() for part in name.split("/")):
        raise _bad("the name holds an empty, `.` or `..` part")
    return name


def shown_name(name: str) -> str:
    """Return a refused name in a form that is safe in statuses, keys and terminals: escaped and cut."""
    escaped = "".join(_escaped(char) for char in name[:_SHOWN_CHARS_MAX]) or "(no name)"
    return escaped if len(name) <= _SHOWN_CHARS_MAX else escaped + "..."


def _escaped(char: str) -> str:
    return f"\\u{ord(char):04x}" if _hidden(char) else char


def _hidden(char: str) -> bool:
    return unicodedata.category(char) in _CONTROLS or char in _DIRECTION_OVERRIDES


def _bad(detail: str) -> ParsingError:
    return ParsingError(Reason.BAD_NAME, detail)
