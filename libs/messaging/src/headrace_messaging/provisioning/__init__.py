"""Topics on a real Kafka as `proto/topics.yaml` declares them: wanted, found, compared, mended.

The embedded bus makes its topics itself and describes none of their settings: nothing of this is for it.
"""

from headrace_messaging.provisioning.cluster import Cluster, FoundTopic
from headrace_messaging.provisioning.comparison import Deviation, compare, undeclared
from headrace_messaging.provisioning.mending import Mended, mend
from headrace_messaging.provisioning.requirement import TopicsMismatch, require_topics
from headrace_messaging.provisioning.wanted import WantedTopic, topics_of, wanted_topics

__all__ = [
    "Cluster",
    "Deviation",
    "FoundTopic",
    "Mended",
    "TopicsMismatch",
    "WantedTopic",
    "compare",
    "mend",
    "require_topics",
    "topics_of",
    "undeclared",
    "wanted_topics",
]
