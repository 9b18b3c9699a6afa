"""The process: `python -m headrace_retrieve`."""

from headrace_runtime import run

from headrace_retrieve.bootstrap import build
from headrace_retrieve.settings import Settings

if __name__ == "__main__":
    run(Settings, build)
