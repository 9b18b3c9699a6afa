"""The parsing sandbox with real child processes: what hostile documents cannot do to the service."""

import asyncio
import io
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import docx
import psutil
import pytest
from headrace_ingest.adapters.sandbox import Sandbox, SandboxLimits
from headrace_ingest.adapters.sandbox.pool import COMMAND
from headrace_ingest.domain.formats import Format, find_format
from headrace_ingest.domain.parsed import ParsingError, Reason
from headrace_ingest.parsers import FORMATS

TEXT = find_format(FORMATS, "a.txt")
WORD = find_format(FORMATS, "a.docx")
MIB = 1024 * 1024


@asynccontextmanager
async def sandbox(
    *, size: int = 1, limits: SandboxLimits | None = None, command: Sequence[str] = COMMAND
) -> AsyncIterator[Sandbox]:
    """Run a sandbox and end it."""
    running = Sandbox(size=size, limits=limits, command=command)
    await running.start()
    try:
        yield running
    finally:
        await running.close()


def children() -> set[int]:
    """Return the process ids of the parsers' children that live; other tests' servers are children of ours, too."""
    return {child.pid for child in psutil.Process().children() if is_parser(child)}


def is_parser(process: psutil.Process) -> bool:
    """Tell whether a process is a living child of the sandbox."""
    try:
        return (
            process.status() != psutil.STATUS_ZOMBIE and "headrace_ingest.adapters.sandbox.child" in process.cmdline()
        )
    except psutil.NoSuchProcess:
        return False


def hostile(body: str) -> tuple[Format, bytes]:
    """Return a format whose parser runs the document as a program: the worst parser there is."""
    return Format("hostile", "tests_hostile_parser", (), ()), body.encode()


@pytest.fixture
def hostile_command(tmp_path: Path) -> Sequence[str]:
    """Return the command of a child that finds the hostile parser, although it runs in isolated mode."""
    (tmp_path / "tests_hostile_parser.py").write_text("def parse(content, limits):\n    exec(content.decode())\n")
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from headrace_ingest.adapters.sandbox import child
child.main()
"""
    return ("-I", "-c", program)


async def refusal(running: Sandbox, found: Format, content: bytes) -> Reason:
    """Return why the sandbox refuses a document."""
    with pytest.raises(ParsingError) as refused:
        await running.parse(found, content)
    return refused.value.reason


async def test_documents_are_parsed_and_chunked_in_a_child_that_is_used_again() -> None:
    """And a document's own fault leaves the child alive."""
    async with sandbox() as running:
        before = children()
        chunked = await running.parse(TEXT, "Water flows. 😀".encode())
        assert chunked.document.text == "Water flows. 😀"
        assert [(span.start, span.end) for span in chunked.spans] == [(0, 14)]
        assert await refusal(running, TEXT, b"\x00") is Reason.NOT_TEXT
        assert children() == before
    assert not children()


async def test_documents_wait_for_a_free_child() -> None:
    """Never more children than allowed, however many documents."""
    async with sandbox(size=2) as running:
        await asyncio.gather(*(running.parse(TEXT, b"text %d" % number) for number in range(20)))
        assert len(children()) == 2


async def test_a_parser_that_never_ends_is_killed(hostile_command: Sequence[str]) -> None:
    """By the clock when it sleeps, by processor time when it spins; the next document gets a new child."""
    async with sandbox(limits=SandboxLimits(wall_s=0.5), command=hostile_command) as running:
        assert await refusal(running, *hostile("import time; time.sleep(60)")) is Reason.TIMEOUT
        assert not children()
        assert (await running.parse(TEXT, b"next")).document.text == "next"
    async with sandbox(limits=SandboxLimits(cpu_s=1), command=hostile_command) as running:
        assert await refusal(running, *hostile("while True: pass")) is Reason.TIMEOUT


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", Reason.PARSER_CRASHED),
        ("import os; os._exit(0)", Reason.PARSER_CRASHED),
        ("raise RuntimeError('document text')", Reason.PARSER_CRASHED),
        ("import sys; sys.setrecursionlimit(1000); f = lambda: f(); f()", Reason.PARSER_CRASHED),
        ("x = bytearray(2 << 30)", Reason.OUT_OF_MEMORY),
        ("import os; [os.write(fd, b'x' * 4096) for fd in range(3, 20) if os.fstat(fd)]", Reason.PARSER_CRASHED),
    ],
)
async def test_a_parser_that_goes_wrong_is_that_documents_failure_only(
    hostile_command: Sequence[str], body: str, expected: Reason
) -> None:
    """Crash, exit, exception, deep recursion, memory, and lies on the wire."""
    async with sandbox(command=hostile_command) as running:
        with pytest.raises(ParsingError) as refused:
            await running.parse(*hostile(body))
        assert refused.value.reason is expected
        assert "document text" not in refused.value.detail
        assert (await running.parse(TEXT, b"next")).document.text == "next"


async def test_a_parser_can_write_no_file_and_reach_no_network(hostile_command: Sequence[str], tmp_path: Path) -> None:
    """The network only where the kernel lets a process leave it."""
    target = tmp_path / "stolen"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        body = f"import socket; socket.create_connection(('127.0.0.1', {port}), 1); raise SystemExit(9)"
        running = Sandbox(size=1, command=hostile_command)
        offline = await running.start()
        with pytest.raises(ParsingError) as refused:
            await running.parse(*hostile(body))
        assert ("OSError" in refused.value.detail or "Connection" in refused.value.detail) == offline
        await refusal(running, *hostile(f"open({str(target)!r}, 'w').write('document')"))
        await running.close()
    assert not target.exists() or not target.read_text()


def _bomb() -> bytes:
    """Return a Word document of some 3 MB, none of its ratios suspect, whose tree takes hundreds of MB."""
    paragraphs = b"".join(b"<w:p><w:r><w:t>%d</w:t></w:r></w:p>" % (number * 7919) for number in range(600_000))
    source = io.BytesIO()
    docx.Document().save(source)
    written = io.BytesIO()
    with zipfile.ZipFile(source) as template, zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as target:
        for name in template.namelist():
            content = template.read(name)
            if name == "word/document.xml":
                content = content.replace(b"<w:body>", b"<w:body>" + paragraphs)
            target.writestr(name, content)
    return written.getvalue()


async def test_a_bomb_leaves_the_services_memory_flat() -> None:
    """It fills the child's allowance, not the service."""
    bomb = _bomb()
    async with sandbox(limits=SandboxLimits(memory_bytes=300 * MIB)) as running:
        await refusal(running, TEXT, b"")
        before = psutil.Process().memory_info().rss
        assert await refusal(running, WORD, bomb) is Reason.OUT_OF_MEMORY
        assert psutil.Process().memory_info().rss - before < 20 * MIB


async def test_a_child_that_dies_between_documents_costs_no_document() -> None:
    """It is replaced, and the next document does not pay for it."""
    async with sandbox() as running:
        (child,) = children()
        os.kill(child, signal.SIGKILL)
        assert (await running.parse(TEXT, b"next")).document.text == "next"


async def test_a_cancelled_document_leaves_no_child_behind() -> None:
    """Stopping the service does not wait for a parser."""
    async with sandbox() as running:
        parsing = asyncio.create_task(running.parse(TEXT, b"many words " * 1_000_000))
        await asyncio.sleep(0.2)
        parsing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await parsing
        assert not children()


def test_children_die_with_the_service() -> None:
    """A kill -9 of the service leaves no parser behind."""
    program = """
import asyncio, psutil
from headrace_ingest.adapters.sandbox import Sandbox
async def main():
    await Sandbox().start()
    print(*[child.pid for child in psutil.Process().children()], flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    service = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert service.stdout
    with service.stdout:
        pid = int(service.stdout.readline())
    os.kill(service.pid, signal.SIGKILL)
    service.wait()
    deadline = time.monotonic() + 5
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, "the child outlived the service"
            time.sleep(0.02)
