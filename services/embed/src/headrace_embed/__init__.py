"""The embed service: texts to vectors, for queries over gRPC and for chunks of documents over Kafka."""
