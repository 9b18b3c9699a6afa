"""An S3-compatible object store: the Versity S3 Gateway over a folder, built from its Go module."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace_native import go
from headrace_native.ports import HOST, free_ports
from headrace_native.process import Process
from headrace_native.readiness import answers
from headrace_native.server import Recipe, Server

VERSION = "1.8.0"
PROGRAM = go.program("versitygw", "github.com/versity/versitygw/cmd/versitygw", VERSION)
BUCKET = "headrace"
ACCESS_KEY_ID = "headrace"
_HEALTH = "/health"


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Start the gateway with one bucket, `headrace`, and a secret of this start's own."""
    binary = PROGRAM.build() / "bin" / "versitygw"
    buckets, metadata = folder / "buckets", folder / "metadata"
    (buckets / BUCKET).mkdir(parents=True, exist_ok=True)  # a folder is a bucket
    metadata.mkdir(exist_ok=True)
    (port,), secret = free_ports(1), secrets.token_hex(16)
    process = Process(
        "s3",
        # Metadata in files of its own: not every file system keeps extended attributes (tmpfs of older kernels).
        [
            str(binary), "--port", f"{HOST}:{port}", "--health", _HEALTH, "--quiet",
            "posix", "--sidecar", str(metadata), str(buckets),
        ],
        log=folder / "s3.log",
        ready=answers(port, _HEALTH),
        environment={"ROOT_ACCESS_KEY_ID": ACCESS_KEY_ID, "ROOT_SECRET_ACCESS_KEY": secret},
    )  # fmt: skip
    try:
        process.start()
        process.wait_ready()
        endpoint = f"http://{HOST}:{port}"
        environment = {
            "HEADRACE_BLOBS__URL": f"s3://{BUCKET}",
            "HEADRACE_BLOBS__ENDPOINT": endpoint,
            "HEADRACE_BLOBS__ACCESS_KEY_ID": ACCESS_KEY_ID,
            "HEADRACE_BLOBS__SECRET_ACCESS_KEY": secret,
        }
        yield Server("s3", folder, VERSION, endpoint, environment, (process,))
    finally:
        process.stop()


RECIPE = Recipe("s3", lambda: VERSION, PROGRAM.is_built, PROGRAM.build, build_s=90, serve=serve)
