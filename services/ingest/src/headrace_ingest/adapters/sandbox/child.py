"""The child process: reads a document, answers with its text, spans and pages, or with the reason why not; and again.

It ends when its input does. It writes nothing else anywhere: what libraries print is thrown away, since it may quote
the document.
"""

import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

from headrace_ingest.adapters.sandbox import confinement, wire
from headrace_ingest.adapters.sandbox.limits import ChildOrders
from headrace_ingest.domain.chunking import ChunkedDocument, Tokens, cut
from headrace_ingest.domain.formats import Format
from headrace_ingest.domain.parsed import ParsingError, Reason
from headrace_ingest.parsers import parse

_OUT_OF_MEMORY = ParsingError(Reason.OUT_OF_MEMORY, "parsing it takes more memory than allowed")


def main() -> None:
    """Serve documents from standard input to standard output, as the orders on the command line say."""
    orders = ChildOrders.from_argument(sys.argv[1])
    offline = confinement.confine(orders.memory_bytes, orders.parent_pid)
    answers = _own_output()
    tokens = _tokens(orders.tokenizer_path)
    _send(answers, *wire.frame({"offline": offline}))
    while request := _receive(sys.stdin.buffer):
        confinement.allow_cpu(orders.cpu_s)
        answer = _answer(*request, tokens, orders)
        if isinstance(answer, ParsingError):
            _send(answers, *wire.frame({"reason": answer.reason, "detail": answer.detail}))
            if answer.reason is Reason.OUT_OF_MEMORY:
                return  # a fresh process has its memory in one piece
        else:
            _send(answers, *wire.pack_document(answer))


def _answer(found: Format, content: bytes, tokens: Tokens, orders: ChildOrders) -> ChunkedDocument | ParsingError:
    """Return the result, or whatever a parser raises on hostile bytes: that is the document's outcome, not ours."""
    try:
        document = parse(found, content, orders.parsing)
        return ChunkedDocument(document, tuple(cut(document.text, tokens, orders.chunks)))
    except MemoryError:
        return _OUT_OF_MEMORY
    except ParsingError as error:
        short_of_memory = error.reason is Reason.UNREADABLE and confinement.memory_ran_out()
        return _OUT_OF_MEMORY if short_of_memory else error
    except Exception as error:
        detail = type(error).__name__  # its text may quote the document
        return _OUT_OF_MEMORY if confinement.memory_ran_out() else ParsingError(Reason.PARSER_CRASHED, detail)


def _tokens(path: str) -> Tokens:
    from headrace_ingest.adapters.tokenizers import ModelTokens, WordTokens  # noqa: PLC0415 - only after the process is confined

    return ModelTokens(Path(path)) if path else WordTokens()


def _own_output() -> BinaryIO:
    """Keep standard output for answers and give everybody else /dev/null."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())
    return answers


def _receive(requests: BinaryIO) -> tuple[Format, bytes] | None:
    length = requests.read(wire.LENGTH.size)
    if len(length) < wire.LENGTH.size:
        return None
    header: dict[str, Any] = wire.header_of(requests.read(*wire.LENGTH.unpack(length)), [sys.maxsize])
    found = Format(header["format"], header["module"], (), ())
    return found, requests.read(header["sizes"][0])


def _send(answers: BinaryIO, *pieces: bytes) -> None:
    answers.writelines(pieces)
    answers.flush()


if __name__ == "__main__":
    main()
