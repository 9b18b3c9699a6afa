"""ONNX sessions, token-budget batching, the slot engine and the model store."""
