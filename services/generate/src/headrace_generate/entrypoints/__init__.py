"""The ways in: events and calls, translated."""
