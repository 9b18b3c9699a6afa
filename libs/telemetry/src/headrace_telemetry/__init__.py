"""Structured logs, traces, metrics and the one vocabulary of their names."""
