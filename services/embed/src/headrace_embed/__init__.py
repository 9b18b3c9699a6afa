"""Turns chunks and queries into vectors."""
