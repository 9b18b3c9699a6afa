"""What moderate decides by: verdicts of rails, and the life of a request. Values and pure rules; no I/O."""
