"""The meter service as a process."""

from headrace_runtime import run

from headrace_meter.bootstrap import build
from headrace_meter.settings import Settings

if __name__ == "__main__":
    run(Settings, build)
