"""Events over Kafka: codec, headers, publisher, reliable subscriber, outbox and inbox."""
