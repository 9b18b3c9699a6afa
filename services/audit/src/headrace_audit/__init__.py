"""Keeps the tamper-evident record of every decision.

Links are appended once a decision, signed and never changed. What is decided, and by whom, is the other services'
business, and so is the content that a record refers to.
"""
