"""Owns every request from admission to its one outcome, and the rails on the way."""
