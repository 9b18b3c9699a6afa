"""What a verification found: each chain's state, and that of the whole record. Who finds it is `verification`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class ChainReport:
    """One chain's state. `broken_at` is the first sequence that does not verify, 0 when all do.

    Up to `signed_to` a trusted key vouches for every link; where another history was put in the place of the signed
    one, `broken_at` is the first sequence that nobody vouches for, and `flaw` names the last that it can be. `erased`
    counts the contents that the chain records as erased where they were kept, `unseen` the links that the service says
    it signed without having seen them signed: those of a release before signatures, or somebody else's.
    """

    chain: str
    length: int
    head_fingerprint: str
    broken_at: int = 0
    flaw: str = ""
    signed_to: int = 0
    erased: int = 0
    unseen: int = 0

    @property
    def verified(self) -> bool:
        """True when every link verifies and the chain ends where its head says."""
        return self.broken_at == 0


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Every chain's state; `flaw` says why nothing could be read or trusted at all.

    `made_at` is when an export was made: an older one is whole, too. `signatures_checked` is False when no key was
    given: then a history that was replaced as a whole looks whole.
    """

    chains: tuple[ChainReport, ...]
    signatures_checked: bool = False
    flaw: str = ""
    made_at: datetime | None = None

    @property
    def verified(self) -> bool:
        """True when the record could be read and every chain verifies."""
        return not self.flaw and all(chain.verified for chain in self.chains)

    @property
    def links(self) -> int:
        """Links that were looked at, over all chains."""
        return sum(chain.length for chain in self.chains)

    @property
    def erased(self) -> int:
        """Contents that are recorded as erased, over all chains."""
        return sum(chain.erased for chain in self.chains)

    def as_json(self) -> dict[str, Any]:
        """Return the report for programs; the keys are stable."""
        chains = [asdict(chain) | {"verified": chain.verified} for chain in self.chains]
        return {
            "verified": self.verified,
            "links": self.links,
            "erased": self.erased,
            "made_at": self.made_at.isoformat() if self.made_at else None,
            "signatures_checked": self.signatures_checked,
            "flaw": self.flaw,
            "chains": chains,
        }
