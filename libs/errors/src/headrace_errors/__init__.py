"""The error taxonomy of Headrace and how each protocol reacts to it.

    HeadraceError
    ├── InvalidMessage      cannot be read or understood; trying again cannot help
    ├── Refused             policy, rails or missing evidence say no
    │   └── QuotaExceeded   a budget or quota says no
    ├── Overloaded          no permit free now; nothing was done
    ├── Unavailable         something needed does not answer; trying again may help
    └── DeadlineExceeded    the time is up

Anything else is a bug; PeerBug is one in another service. Standard library only; the engines that react live in
libs/messaging and libs/runtime.
"""

from headrace_errors._reactions import REACTIONS, Reaction, reaction_of
from headrace_errors._taxonomy import (
    DeadlineExceeded,
    HeadraceError,
    InvalidMessage,
    Overloaded,
    PeerBug,
    QuotaExceeded,
    Refused,
    Unavailable,
)

__all__ = [
    "REACTIONS",
    "DeadlineExceeded",
    "HeadraceError",
    "InvalidMessage",
    "Overloaded",
    "PeerBug",
    "QuotaExceeded",
    "Reaction",
    "Refused",
    "Unavailable",
    "reaction_of",
]
