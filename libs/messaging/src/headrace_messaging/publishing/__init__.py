"""Publishing: the producer and its limits, and back-pressure on the embedded bus."""
