"""Accepts, parses, chunks, versions and deletes documents."""
