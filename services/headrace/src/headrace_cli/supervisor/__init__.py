"""The supervisor of a platform on one machine: one child process a service, and one for the embedded bus.

It starts, restarts and stops; it reads no message and keeps no state but `run/platform.json`.
"""

from headrace_cli.supervisor.platform_file import (
    AlreadyRunning,
    NotRunning,
    PlatformFile,
    PlatformState,
    ServiceState,
    State,
)
from headrace_cli.supervisor.profile import Profile
from headrace_cli.supervisor.supervisor import Supervisor, UpOptions

__all__ = [
    "AlreadyRunning",
    "NotRunning",
    "PlatformFile",
    "PlatformState",
    "Profile",
    "ServiceState",
    "State",
    "Supervisor",
    "UpOptions",
]
