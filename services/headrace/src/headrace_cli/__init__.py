"""The headrace command and the supervisor of the embedded platform."""
