"""The embedded bus: librdkafka's in-process Kafka cluster, spoken to over TCP as Kafka.

For one machine, and ephemeral: what it holds is gone with its process. It persists nothing, has no transactions and no
access control; durability and exactly-once are proved on a real Kafka.
"""

from headrace_devbroker.cluster import EmbeddedCluster
from headrace_devbroker.native import NativeLibraryMissing

__all__ = ["EmbeddedCluster", "NativeLibraryMissing"]
