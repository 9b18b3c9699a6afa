"""Prices usage, holds reservations and keeps the ledger.

Every usage event is booked once, every amount is an integer, and what has no price is refused before it runs or kept
visibly apart after it ran. Contracts, discounts, corrections and repricing are not here yet.
"""
