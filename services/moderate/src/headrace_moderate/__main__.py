"""Run the moderate service."""

from headrace_runtime import run

from headrace_moderate.bootstrap import build
from headrace_moderate.settings import Settings

if __name__ == "__main__":
    run(Settings, build)
