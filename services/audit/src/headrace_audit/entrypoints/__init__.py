"""Decode, call the use case, encode."""
