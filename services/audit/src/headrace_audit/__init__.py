"""Keeps the tamper-evident record of every decision.

Links are appended once a decision and never changed. What is decided, and by whom, is the other services' business;
signed checkpoints and erasure of referenced content are not here yet.
"""
