"""Consuming: from a group's partitions through handlers to commits, at least once and in the order of keys."""
