"""The audit service as a process."""

from headrace_runtime import run

from headrace_audit.bootstrap import build
from headrace_audit.settings import Settings

if __name__ == "__main__":
    run(Settings, build)
