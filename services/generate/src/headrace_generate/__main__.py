"""The process: `python -m headrace_generate`."""

from headrace_runtime import run

from headrace_generate.bootstrap import build
from headrace_generate.settings import Settings

if __name__ == "__main__":
    run(Settings, build)
