"""The service's side of the sandbox: a few warm child processes with one document each, killed when it overstays."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from headrace_errors import Unavailable

from headrace_ingest.adapters.sandbox import wire
from headrace_ingest.adapters.sandbox.limits import ChildOrders, SandboxLimits
from headrace_ingest.domain.chunking import ChunkedDocument, ChunkSize
from headrace_ingest.domain.formats import Format
from headrace_ingest.domain.parsed import ParseLimits, ParsingError, Reason

COMMAND = ("-I", "-m", "headrace_ingest.adapters.sandbox.child")  # isolated: neither the working folder nor PYTHONPATH
_BYTES_PER_CHAR_MAX = 4  # of UTF-8
_NUMBERS_BYTES_MAX = 64 * 1024 * 1024
# One thread and one arena: every further one reserves address space, which is what the memory limit counts.
_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "MALLOC_ARENA_MAX": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "RAYON_NUM_THREADS": "1",
}


class _ChildDiedError(Exception):
    """A child ended in the middle of a document."""

    def __init__(self, status: int) -> None:
        super().__init__(f"exit status {status}")
        self.status = status


@dataclass(slots=True)
class _Child:
    process: Process
    offline: bool = False
    documents: int = 0


class Sandbox:
    """At most `size` children. `start` before use; `close` ends them all. `parse` may be called concurrently."""

    def __init__(
        self,
        *,
        size: int = 2,
        limits: SandboxLimits | None = None,
        parsing: ParseLimits | None = None,
        chunks: ChunkSize | None = None,
        tokenizer_path: str = "",
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._command = command
        self._limits = limits or SandboxLimits()
        self._parsing = parsing or ParseLimits()
        self._orders = ChildOrders(
            os.getpid(),
            self._limits.memory_bytes,
            self._limits.cpu_s,
            tokenizer_path,
            self._parsing,
            chunks or ChunkSize(),
        )
        self._permits = asyncio.Semaphore(size)
        self._idle: deque[_Child] = deque()

    async def start(self) -> bool:
        """Start the first child, so that a wrong setting shows at once. Return whether it is cut off from the network.

        Raises Unavailable when a child does not come up.
        """
        child = await self._spawn()
        self._idle.append(child)
        return child.offline

    async def close(self) -> None:
        """Kill the idle children. Those at work are killed by cancelling their `parse`."""
        while self._idle:
            await _kill(self._idle.popleft().process)

    async def parse(self, found: Format, content: bytes) -> ChunkedDocument:
        """Parse and chunk one document; waits for a free child.

        Raises ParsingError with the document's own fault, TIMEOUT, OUT_OF_MEMORY or PARSER_CRASHED; Unavailable when
        no child can be started.
        """
        async with self._permits:
            with suppress(_ChildDiedError):  # perhaps of an earlier document: this one gets a fresh child
                if child := self._warm():
                    return await self._parse_in(child, found, content)
            try:
                return await self._parse_in(await self._spawn(), found, content)
            except _ChildDiedError as error:
                raise _death(error.status) from error

    def _warm(self) -> _Child | None:
        while self._idle:
            child = self._idle.popleft()
            if child.process.returncode is None:
                return child
        return None

    async def _parse_in(self, child: _Child, found: Format, content: bytes) -> ChunkedDocument:
        reusable = False
        try:
            async with asyncio.timeout(self._limits.wall_s):
                answer = await self._exchange(child.process, found, content)
            child.documents += 1
            out_of_memory = (
                isinstance(answer, ParsingError) and answer.reason is Reason.OUT_OF_MEMORY
            )  # it is ending itself
            reusable = child.documents < self._limits.documents_max and not out_of_memory
        except TimeoutError as error:
            raise ParsingError(Reason.TIMEOUT, f"parsing it takes longer than {self._limits.wall_s:g} s") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise _ChildDiedError(await child.process.wait()) from error
        except wire.WireError as error:
            raise ParsingError(Reason.PARSER_CRASHED, "the parser's answer makes no sense") from error
        finally:
            await self._put_back(child, reusable=reusable)
        if isinstance(answer, ParsingError):
            raise answer
        return answer

    async def _exchange(self, process: Process, found: Format, content: bytes) -> ChunkedDocument | ParsingError:
        assert process.stdin is not None  # noqa: S101 - both are pipes, for mypy
        process.stdin.writelines(wire.frame({"format": found.name, "module": found.module}, content))
        await process.stdin.drain()
        text_bytes_max = _BYTES_PER_CHAR_MAX * self._parsing.text_chars_max
        header, parts = await _receive(process, [text_bytes_max, _NUMBERS_BYTES_MAX, _NUMBERS_BYTES_MAX])
        if "reason" in header:
            return _refusal(header)
        if len(parts) != 3:  # noqa: PLR2004 - text, spans, pages
            raise wire.WireError("parts are missing")
        return await asyncio.to_thread(wire.unpack_document, header, *parts)

    async def _spawn(self) -> _Child:
        arguments = (*self._command, self._orders.to_argument())
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=_ENVIRONMENT, cwd="/"
        )
        try:
            async with asyncio.timeout(self._limits.start_s):
                header, _ = await _receive(process, [])
        except (TimeoutError, asyncio.IncompleteReadError, wire.WireError) as error:
            await _kill(process)
            raise Unavailable(f"the parsing child does not start (exit status {process.returncode})") from error
        except BaseException:
            await _kill(process)
            raise
        return _Child(process, offline=bool(header.get("offline")))

    async def _put_back(self, child: _Child, *, reusable: bool) -> None:
        if reusable and child.process.returncode is None:
            self._idle.append(child)
        else:
            await _kill(child.process)


async def _receive(process: Process, sizes_max: list[int]) -> tuple[dict[str, Any], list[bytes]]:
    assert process.stdout is not None  # noqa: S101 - a pipe, for mypy
    (length,) = wire.LENGTH.unpack(await process.stdout.readexactly(wire.LENGTH.size))
    if length > wire.HEADER_BYTES_MAX:
        raise wire.WireError("the header is too long")
    header = wire.header_of(await process.stdout.readexactly(length), sizes_max)
    return header, [await process.stdout.readexactly(size) for size in header["sizes"]]


def _refusal(header: dict[str, Any]) -> ParsingError:
    try:
        return ParsingError(Reason(header["reason"]), str(header["detail"])[:300])
    except (ValueError, KeyError) as error:
        raise wire.WireError("unknown reason") from error


def _death(status: int) -> ParsingError:
    """Return the reason that a child's exit status tells."""
    if status == -signal.SIGXCPU:
        return ParsingError(Reason.TIMEOUT, "parsing it takes more processor time than allowed")
    if status == -signal.SIGKILL:  # not by us: the kernel was out of memory
        return ParsingError(Reason.OUT_OF_MEMORY, "the machine ran out of memory while parsing it")
    return ParsingError(Reason.PARSER_CRASHED, f"the parser died (exit status {status})")


async def _kill(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()
