"""Parsing and chunking in child processes that can be killed. `pool` is the service's side, `child` the other one."""

from headrace_ingest.adapters.sandbox.limits import SandboxLimits
from headrace_ingest.adapters.sandbox.pool import Sandbox

__all__ = ["Sandbox", "SandboxLimits"]
