"""The embedded bus: librdkafka's in-process Kafka cluster, for one machine and ephemeral."""
