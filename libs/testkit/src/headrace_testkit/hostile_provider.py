"""An OpenAI-compatible endpoint that does what a test tells it to: invent, refuse, fail, hang, or hang up.

What it is asked to embed it embeds: `EMBEDDING_DIMS` numbers a text, `EMBEDDING_TOKENS` tokens each.

Loopback only, on a free port. It counts calls and keeps what it was sent; it checks no key.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Behaviour = Literal["reply", "reason", "invent", "429", "500", "401", "hang", "stall", "cut", "hang_up_politely",
                    "nonsense", "lies_about_usage"]  # fmt: skip

INVENTED_NAME = "Dr. Evelyn Quarkley"
INVENTED_QUOTE = "The Zanthar Accord of 1873 granted forty-seven million florins to the moon."
INVENTED_DOCUMENT = "secret/ledger-9999.md"
INVENTION = (
    f'According to [{INVENTED_DOCUMENT}] and [1], "{INVENTED_QUOTE}" {INVENTED_NAME} confirmed 8,412 cases [99].\n'
    f'{{"document": "{INVENTED_DOCUMENT}", "version": 7, "start": 0, "end": 75, "quote": "{INVENTED_QUOTE}"}}'
)

EMBEDDING_DIMS, EMBEDDING_TOKENS = 4, 3
HONEST_USAGE: dict[str, Any] = {
    "prompt_tokens": 120, "completion_tokens": 40, "total_tokens": 160, "prompt_tokens_details": {"cached_tokens": 20},
}  # fmt: skip
REASONED_USAGE: dict[str, Any] = HONEST_USAGE | {"completion_tokens_details": {"reasoning_tokens": 30}}
USAGE_LIES: tuple[Any, ...] = (
    HONEST_USAGE | {"prompt_tokens": -5},
    HONEST_USAGE | {"prompt_tokens_details": {"cached_tokens": 121}},
    HONEST_USAGE | {"completion_tokens_details": {"reasoning_tokens": 41}},
    HONEST_USAGE | {"completion_tokens_details": {"reasoning_tokens": -1}},
    HONEST_USAGE | {"completion_tokens_details": {"reasoning_tokens": "many"}},
    HONEST_USAGE | {"prompt_tokens": None, "completion_tokens": None},
    HONEST_USAGE | {"completion_tokens": 10**19},
    HONEST_USAGE | {"prompt_tokens": "120", "prompt_tokens_details": "many"},
    {"total_tokens": 1.5},
)


@dataclass
class HostileProvider:
    """`script` holds what the next calls meet; its last entry stays. `calls` holds each request: headers and body.

    One that lies about usage tells the lies of `USAGE_LIES` in turn, one a call.
    """

    base_url: str = ""
    script: Sequence[Behaviour] = ("invent",)
    reply: str = "I do not know."
    calls: list[dict[str, Any]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def received(self, call: dict[str, Any]) -> Behaviour:
        """Count a call and say how to treat it."""
        with self._lock:
            self.calls.append(call)
            return self.script[min(len(self.calls), len(self.script)) - 1]


@contextmanager
def hostile_provider(*script: Behaviour, reply: str = "I do not know.") -> Iterator[HostileProvider]:
    """Serve until the block is left; calls that hang are let go then."""
    provider = HostileProvider(script=script or ("invent",), reply=reply)

    class Handler(_Handler):
        hostile = provider

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    provider.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hostile: HostileProvider

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        behaviour = self.hostile.received({"headers": dict(self.headers), "body": body, "path": self.path})
        match behaviour:
            case "429" | "500" | "401":
                self._refuse(int(behaviour))
            case "hang":
                self.hostile.released.wait(60)
            case _ if self.path.endswith("/embeddings"):
                self._embed(body["input"])
            case "stall":
                self._start_stream()
                self._delta("The first half of")
                self.hostile.released.wait(60)
            case "nonsense":
                self._start_stream()
                self._chunk(b"data: {not json\n\n")
                self._chunk(b"")
            case "cut" | "hang_up_politely":
                self._cut(rude=behaviour == "cut")
            case "lies_about_usage":
                self._answer(self.hostile.reply, USAGE_LIES[(len(self.hostile.calls) - 1) % len(USAGE_LIES)])
            case "reason":
                self._answer(self.hostile.reply, REASONED_USAGE)
            case _:
                self._answer(self.hostile.reply if behaviour == "reply" else INVENTION)

    def log_message(self, *_: Any) -> None:
        """Say nothing: tests read `calls`."""

    def _refuse(self, status: int) -> None:
        self._json(status, {"error": {"message": "no", "type": "refused", "code": str(status)}})

    def _embed(self, texts: Sequence[str]) -> None:
        vectors = [[float(len(text)), *[1.0] * (EMBEDDING_DIMS - 1)] for text in texts]
        data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
        tokens = EMBEDDING_TOKENS * len(texts)
        self._json(200, {"data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})

    def _json(self, status: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(content)

    def _start_stream(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _event(self, **fields: Any) -> None:
        event = {"id": "hostile-1", "object": "chat.completion.chunk", "created": 1, "model": "hostile", **fields}
        self._chunk(b"data: " + json.dumps(event).encode() + b"\n\n")

    def _delta(self, text: str, finish: str | None = None) -> None:
        self._event(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": finish}])

    def _cut(self, *, rude: bool) -> None:
        """Begin an answer and stop; a rude cut also breaks the transfer's own framing."""
        self._start_stream()
        self._delta("The first half of")
        if not rude:
            self._chunk(b"")

    def _answer(self, text: str, usage: Any = HONEST_USAGE) -> None:
        self._start_stream()
        for at in range(0, len(text), 16):
            self._delta(text[at : at + 16])
        self._delta("", "stop")
        self._event(choices=[], usage=usage)
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")
