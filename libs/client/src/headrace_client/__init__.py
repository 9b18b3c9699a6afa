"""The SDK: publish documents and questions, await outcomes, read typed events."""
