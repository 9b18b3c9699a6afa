"""Keeps the tamper-evident record of every decision."""
