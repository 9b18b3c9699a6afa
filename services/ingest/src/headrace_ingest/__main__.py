"""The ingest service as a process."""

from headrace_runtime import run

from headrace_ingest.bootstrap import build
from headrace_ingest.settings import Settings

if __name__ == "__main__":
    run(Settings, build)
