"""The process: `python -m headrace_embed`."""

from headrace_runtime import run

from headrace_embed.bootstrap import build
from headrace_embed.settings import Settings

if __name__ == "__main__":
    run(Settings, build)
