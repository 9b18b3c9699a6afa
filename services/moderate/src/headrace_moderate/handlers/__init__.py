"""The use cases of moderate: plain functions over values and ports."""
