"""Fakes, builders and fixtures; tests only."""
