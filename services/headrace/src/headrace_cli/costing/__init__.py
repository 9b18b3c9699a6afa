"""Costs for people and for finance: sums by group, charts of them, files of them, and FOCUS rows."""
