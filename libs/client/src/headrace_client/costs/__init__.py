"""Money as finance asks for it: the ledger's sums, the topic's rows, and whether both agree with what was used."""

from headrace_client.costs.corrections import Corrected, CorrectionDiffers, NothingToCorrect, correct, find_unknown
from headrace_client.costs.credits import CreditDiffers, Credited, grant
from headrace_client.costs.desk import CostDesk
from headrace_client.costs.focus import FOCUS_COLUMNS, FOCUS_VERSION, focus_record
from headrace_client.costs.held import Held
from headrace_client.costs.patience import POLL_S, WAIT_S, ask_until
from headrace_client.costs.reconciliation import Reconciliation, reconcile
from headrace_client.costs.seen import Seen
from headrace_client.costs.tally import Span, Tally

__all__ = [
    "FOCUS_COLUMNS",
    "FOCUS_VERSION",
    "POLL_S",
    "WAIT_S",
    "Corrected",
    "CorrectionDiffers",
    "CostDesk",
    "CreditDiffers",
    "Credited",
    "Held",
    "NothingToCorrect",
    "Reconciliation",
    "Seen",
    "Span",
    "Tally",
    "ask_until",
    "correct",
    "find_unknown",
    "focus_record",
    "grant",
    "reconcile",
]
