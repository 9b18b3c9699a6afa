"""The engine process: real processes, real pipes, real kills, over the tiny model."""

import asyncio
import errno
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from headrace_generate.adapters.engine_process import EngineCrashed, EngineProcess, ModelUnusable, RestartPolicy
from headrace_generate.engine.wire import End, EngineConfig, Load, Submit, Text
from headrace_inference.gguf_import import import_gguf
from structlog.testing import capture_logs

PROMPT = (5, 6, 7)


@pytest.fixture(scope="module")
def config(tiny_gguf, tmp_path_factory) -> EngineConfig:
    folder = tmp_path_factory.mktemp("engine")
    import_gguf(tiny_gguf, folder)
    return EngineConfig(str(folder), end_tokens=(), slots=2, slot_tokens=64, threads=1)


@asynccontextmanager
async def running(config: EngineConfig) -> AsyncIterator[EngineProcess]:
    engine = EngineProcess(config, RestartPolicy(wait_min_s=0.05))
    task = asyncio.create_task(engine.run_forever())
    try:
        await asyncio.wait_for(engine.wait_ready(), 120)
        yield engine
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def submit(job_id: str, max_tokens: int = 20, deadline_ms: int = 60_000) -> Submit:
    return Submit(job_id, PROMPT, max_tokens, deadline_ms)


async def collect(engine: EngineProcess, request: Submit) -> tuple[str, End]:
    text, end = "", None
    async for event in engine.generate(request):
        match event:
            case Text(text=piece):
                text += piece
            case End():
                end = event
    assert end is not None
    return text, end


async def test_generations_run_side_by_side_and_tell_their_usage(config):
    """More requests than slots; each gets its own stream, the same prompt the same text."""
    async with running(config) as engine:
        results = await asyncio.gather(*(collect(engine, submit(str(at))) for at in range(5)))
    assert len({text for text, _ in results}) == 1
    assert [end for _, end in results] == [End(str(at), "length", 3, 20) for at in range(5)]


async def test_kill_9_fails_what_is_in_flight_and_the_engine_comes_back(config):
    """A generation never survives its process; the next one runs on a new process."""
    async with running(config) as engine:
        first = engine.pid
        flying = [asyncio.create_task(collect(engine, submit(f"f{at}", 60))) for at in range(8)]
        stream = engine.generate(submit("watched", 60))
        await anext(stream)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(EngineCrashed):
            async for _ in stream:
                pass
        outcomes = await asyncio.gather(*flying, return_exceptions=True)
        assert any(isinstance(outcome, EngineCrashed) for outcome in outcomes)
        _, end = await collect(engine, submit("after"))
        assert end.outcome == "length"
        assert engine.pid != first


async def test_an_engine_that_hangs_is_ended_and_its_generations_fail(config):
    """A stopped process holds its pipes open and says nothing: what it had ends as after a crash, the next one runs."""
    engine = EngineProcess(config, RestartPolicy(wait_min_s=0.05, silent_max_s=3.0))
    task = asyncio.create_task(engine.run_forever())
    try:
        await asyncio.wait_for(engine.wait_ready(), 120)
        first = engine.pid
        stream = engine.generate(submit("watched", 60))
        await anext(stream)
        os.kill(first, signal.SIGSTOP)
        late = asyncio.create_task(collect(engine, submit("late")))  # given to it when it had stopped already
        with pytest.raises(EngineCrashed):
            async for _ in stream:
                pass
        with pytest.raises(EngineCrashed):
            await late
        _, end = await asyncio.wait_for(collect(engine, submit("after")), 120)
        assert end.outcome == "length"
        assert engine.pid != first
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_engine_that_cannot_be_ended_holds_nobody_up(config, monkeypatch):
    """As one in the kernel's hands, whom no signal reaches: its generations fail at once, and another is started."""
    policy = RestartPolicy(wait_min_s=0.05, silent_max_s=3.0, end_timeout_s=0.5)
    engine = EngineProcess(config, policy)
    task = asyncio.create_task(engine.run_forever())
    first = 0
    try:
        await asyncio.wait_for(engine.wait_ready(), 120)
        first = engine.pid
        stream = engine.generate(submit("watched", 60))
        await anext(stream)
        monkeypatch.setattr(asyncio.subprocess.Process, "kill", lambda _process: None)
        os.kill(first, signal.SIGSTOP)
        with capture_logs() as logs, pytest.raises(EngineCrashed):
            async for _ in stream:
                pass
        silent = next(line for line in logs if line["event"] == "engine.silent")
        assert silent["setting"] == "HEADRACE_GENERATE__ENGINE_SILENT_MAX_S"
        assert engine.pid is None
        _, end = await asyncio.wait_for(collect(engine, submit("after")), 120)
        assert (end.outcome, engine.pid != first) == ("length", True)
        os.kill(first, 0)  # it is there still
    finally:
        monkeypatch.undo()
        os.kill(first, signal.SIGKILL)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(30):  # its pipes must not outlive the loop, and nobody else waits for its end now
            while Path(f"/proc/{first}").exists():  # noqa: ASYNC110, ASYNC240 - the kernel tells when
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)


async def test_an_engine_that_does_not_load_in_time_is_told_of_and_started_again(config):
    """Its limit is the policy's; nothing else would say why it restarts."""
    engine = EngineProcess(config, RestartPolicy(wait_min_s=0.05, start_timeout_s=0.01))
    with capture_logs() as logs:
        task = asyncio.create_task(engine.run_forever())
        async with asyncio.timeout(60):
            while sum(line["event"] == "engine.died" for line in logs) < 2:  # noqa: ASYNC110 - the process tells when
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [line["event"] for line in logs][:4] == ["engine.load_too_long", "engine.died"] * 2


async def test_a_process_that_cannot_be_started_now_is_tried_again(config, monkeypatch):
    """Memory is short when one has just been killed for it; hosted models beside it must not end for that."""
    refusals, start = iter([OSError(errno.EAGAIN, ""), OSError(errno.ENOMEM, "")]), asyncio.create_subprocess_exec

    async def refuse_twice(*arguments, **options):
        if refusal := next(refusals, None):
            raise refusal
        return await start(*arguments, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse_twice)
    with capture_logs() as logs:
        async with running(config) as engine:
            assert (await collect(engine, submit("after")))[1].outcome == "length"
    assert [line["event"] for line in logs if line["event"] == "engine.not_started"] == ["engine.not_started"] * 2


async def test_an_engine_without_work_may_be_silent(config):
    """Nothing to say is no sign of anything, and a generation that has ended is no work, whoever has yet to read it."""
    engine = EngineProcess(config, RestartPolicy(wait_min_s=0.05, silent_max_s=0.4))
    task = asyncio.create_task(engine.run_forever())
    try:
        await asyncio.wait_for(engine.wait_ready(), 120)
        unread = engine.generate(submit("unread", 1))
        await anext(unread)
        first = engine.pid
        await asyncio.sleep(1.5)
        assert engine.pid == first
        assert [event async for event in unread][-1].outcome == "length"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_leaving_a_stream_frees_its_slot(config):
    """Cancelling reaches the engine: two abandoned streams do not hold both slots."""
    async with running(config) as engine:
        for job_id in ("a", "b"):
            stream = engine.generate(submit(job_id, 60))
            await anext(stream)
            await stream.aclose()
        _, end = await asyncio.wait_for(collect(engine, submit("c", 4)), 60)
    assert end.output_tokens == 4


async def test_a_deadline_ends_a_generation_in_the_engine(config):
    """What was written until then is counted."""
    async with running(config) as engine:
        _, end = await collect(engine, submit("late", 60, deadline_ms=0))
    assert end.outcome == "expired"


async def test_a_deadline_counts_while_an_engine_starts(config):
    """A call whose time has passed before there was a process is not begun."""
    engine = EngineProcess(config)
    task = asyncio.create_task(engine.run_forever())
    try:
        _, end = await asyncio.wait_for(collect(engine, submit("early", 60, deadline_ms=50)), 120)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert (end.outcome, end.output_tokens) == ("expired", 0)


async def test_a_process_that_is_gone_before_it_was_asked_leaves_nobody_waiting(config):
    """It was ready and died in one turn of the loop: the call waits for the next one, as long as it may."""
    engine = EngineProcess(config)
    call = asyncio.create_task(anext(engine.generate(submit("a"), ready_timeout_s=1)))
    for _ in range(5):  # until it waits
        await asyncio.sleep(0)
    engine._ready.set()
    engine._ready.clear()
    with pytest.raises(EngineCrashed, match="no engine process"):
        await asyncio.wait_for(call, 10)


async def test_what_does_not_fit_is_answered_as_such(config):
    """The engine says no; it does not die."""
    async with running(config) as engine:
        _, end = await collect(engine, submit("big", 1000))
        assert end == End("big", "too_long")
        assert (await collect(engine, submit("next")))[1].outcome == "length"


async def test_a_model_that_cannot_be_run_is_said_once_and_not_started_again(config, tmp_path):
    """A restart would meet the same: the service ends with what is wrong."""
    engine = EngineProcess(replace(config, folder=str(tmp_path)))
    with pytest.raises(ModelUnusable, match="import the model again"):
        await asyncio.wait_for(engine.run_forever(), 120)


async def test_a_constraint_and_the_way_of_choosing_reach_the_engine(config):
    """And what is wrong with either comes back as the end of that request alone."""
    asked = {"constraint_kind": "regex", "temperature": 1.0, "top_k": 40, "repetition_penalty": 1.1, "seed": 3}
    async with running(config) as engine:
        text, end = await collect(engine, replace(submit("yes"), constraint="[0-9]{2}", **asked))
        _, unreadable = await collect(engine, replace(submit("no"), constraint="(", **asked))
        _, wild = await collect(engine, replace(submit("wild"), temperature=-1.0))
    assert re.fullmatch("[0-9]{2}", text)
    assert (end.outcome, unreadable.outcome, wild.outcome) == ("stop", "bad_constraint", "bad_sampling")
    assert "unclosed group" in unreadable.detail


async def test_the_engine_tells_what_is_taken_of_it_and_falls_silent_with_its_process(config):
    """Nothing is taken when all have ended; None when there is no process."""
    heard: list[Load | None] = []
    engine = EngineProcess(config, RestartPolicy(wait_min_s=0.05), heard.append)
    task = asyncio.create_task(engine.run_forever())
    await asyncio.wait_for(engine.wait_ready(), 120)
    await collect(engine, submit("a"))
    async with asyncio.timeout(60):
        while not heard or heard[-1] is None or heard[-1].slots:  # noqa: ASYNC110 - the engine tells when
            await asyncio.sleep(0.01)
    assert heard[-1] == Load(0, 2, 0, 0, 128, 0, 0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert heard[-1] is None


def test_the_engine_dies_with_its_parent(config):
    """Kill -9 of the service leaves no engine behind: the kernel kills it."""
    program = (
        "import asyncio, sys\n"
        "from headrace_generate.adapters.engine_process import EngineProcess\n"
        "from headrace_generate.engine.wire import EngineConfig\n"
        "async def main():\n"
        "    engine = EngineProcess(EngineConfig(sys.argv[1], end_tokens=()))\n"
        "    task = asyncio.create_task(engine.run_forever())\n"
        "    await engine.wait_ready()\n"
        "    print(engine.pid, flush=True)\n"
        "    await task\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, config.folder], stdout=subprocess.PIPE, text=True) as parent:
        lines = (line for line in parent.stdout if line.strip().isdigit())
        child = int(next(lines))
        state = Path(f"/proc/{child}/stat")
        assert state.exists()
        parent.kill()
        parent.wait()
        for _ in range(100):
            if not state.exists() or state.read_text().split(")")[1].split()[0] == "Z":
                return
            time.sleep(0.05)
            time.sleep(0.05)
    pytest.fail("the engine outlived its parent")
