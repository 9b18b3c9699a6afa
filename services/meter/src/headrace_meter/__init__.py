"""Prices usage, holds reservations and keeps the ledger."""
