"""The SDK: publish documents and questions, await their one outcome, read typed events.

It knows the bus and the gRPC addresses it is given; it starts nothing and finds nothing by itself.
"""

from headrace_client.answers import Answer, Citation, unanswered
from headrace_client.client import Client
from headrace_client.costs import CostDesk, Reconciliation, Tally, reconcile
from headrace_client.dead_letters import DeadLetter, DeadLetterDesk
from headrace_client.documents import DocumentState, DocumentStatus
from headrace_client.endpoints import Endpoints
from headrace_client.outcomes import NoOutcome

__all__ = [
    "Answer",
    "Citation",
    "Client",
    "CostDesk",
    "DeadLetter",
    "DeadLetterDesk",
    "DocumentState",
    "DocumentStatus",
    "Endpoints",
    "NoOutcome",
    "Reconciliation",
    "Tally",
    "reconcile",
    "unanswered",
]
