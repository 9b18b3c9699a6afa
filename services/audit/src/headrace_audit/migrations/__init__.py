"""The revisions of audit's tables, in order. What was released never changes: the next change is the next file."""
