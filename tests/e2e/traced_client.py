"""A program of the SDK that exports its spans, run as a process of its own: tracing is set up once a process.

`python traced_client.py DATA_DIR DOCUMENT QUESTION` hands a document in, waits until it is searchable, asks, and prints
both trace ids.
"""

import asyncio
import json
import sys
from pathlib import Path

from headrace_cli.connection import connected
from headrace_telemetry import configure, span


async def main(data_dir: Path, document: Path, question: str) -> dict[str, str]:
    telemetry = configure("client", version="0", log_level="error")
    try:
        async with connected(data_dir, "default", "") as client:
            content = await asyncio.to_thread(document.read_bytes)
            with span("hand in") as handing_in:
                submitted = await client.submit(document.name, content)
            async for status in client.watch([document.name], timeout_s=60):
                if status.settled() and status.version >= submitted.version:
                    break
            answer = await client.ask(question)
        document_trace = f"{handing_in.get_span_context().trace_id:032x}"
        return {"document": document_trace, "request": answer.trace_id, "outcome": answer.outcome}
    finally:
        telemetry.close()


if __name__ == "__main__":
    found = asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
    json.dump(found, sys.stdout)
