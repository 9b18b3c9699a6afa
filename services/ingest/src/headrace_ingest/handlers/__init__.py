"""The use cases: submit, refuse, forget, erase, digest (parse and chunk), settle (what the index says), resend.

Each is one transaction of the registry together with what it announces. They know nothing of Kafka, gRPC or SQL.
"""

from headrace_ingest.handlers.erasure import erase
from headrace_ingest.handlers.intake import forget, refuse, submit, take_in
from headrace_ingest.handlers.progress import digest, give_up, resend_all, settle

__all__ = ["digest", "erase", "forget", "give_up", "refuse", "resend_all", "settle", "submit", "take_in"]
