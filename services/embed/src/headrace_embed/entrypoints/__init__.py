"""Decode, call the use case, encode: Kafka and gRPC."""
