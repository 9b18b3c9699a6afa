"""The outbox: events stored in the transaction of their effect, and the relay that brings them to the bus.

Services use what is named here; the modules beneath are the relay's.
"""

from headrace_messaging.outbox.box import Outbox, relay_of
from headrace_messaging.outbox.lease import lease_table
from headrace_messaging.outbox.relay import Relay, RelayOptions
from headrace_messaging.outbox.rows import OutboxRow, outbox_table

__all__ = ["Outbox", "OutboxRow", "Relay", "RelayOptions", "lease_table", "outbox_table", "relay_of"]
