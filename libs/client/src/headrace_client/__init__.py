"""The SDK: publish documents and questions, await their one outcome, read typed events.

It knows the bus and the gRPC addresses it is given; it starts nothing and finds nothing by itself.
"""

from headrace_client.answers import Answer, Citation, unanswered
from headrace_client.client import Client
from headrace_client.dead_letters import DeadLetter, DeadLetterDesk
from headrace_client.documents import DocumentState, DocumentStatus
from headrace_client.endpoints import Endpoints
from headrace_client.outcomes import NoOutcome
from headrace_client.reconciliation import Reconciliation, reconcile

__all__ = [
    "Answer",
    "Citation",
    "Client",
    "DeadLetter",
    "DeadLetterDesk",
    "DocumentState",
    "DocumentStatus",
    "Endpoints",
    "NoOutcome",
    "Reconciliation",
    "reconcile",
    "unanswered",
]
