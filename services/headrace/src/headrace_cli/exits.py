"""Exit codes, and the one place where an error becomes a sentence on stderr."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import IntEnum
from typing import Any

import typer
from headrace_client import NoOutcome
from headrace_errors import DeadlineExceeded, HeadraceError, PeerBug, Refused

from headrace_cli.output import complain
from headrace_cli.supervisor import AlreadyRunning, NotRunning


class Exit(IntEnum):
    """What the command's exit status says."""

    DONE = 0
    ITEM_FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    REFUSED = 4
    EXPIRED = 5


def complete(work: Callable[[], Coroutine[Any, Any, Exit]]) -> None:
    """Run a command's work and leave with its exit code; expected errors become one sentence."""
    try:
        code = asyncio.run(work())
    except NotRunning as error:
        code = complain(str(error), Exit.NOT_RUNNING)
    except AlreadyRunning as error:
        code = complain(str(error), Exit.ITEM_FAILED)
    except Refused as error:
        code = complain(f"refused: {error.reason}: {error.detail}", Exit.REFUSED)
    except (DeadlineExceeded, NoOutcome) as error:
        code = complain(f"expired: {error}", Exit.EXPIRED)
    except (HeadraceError, PeerBug) as error:
        code = complain(f"failed: {error.reason}: {error.detail}", Exit.ITEM_FAILED)
    except KeyboardInterrupt:
        code = complain("interrupted", Exit.ITEM_FAILED)
    except (ValueError, FileNotFoundError, IsADirectoryError, PermissionError) as error:
        code = complain(str(error), Exit.USAGE)
    raise typer.Exit(code)
