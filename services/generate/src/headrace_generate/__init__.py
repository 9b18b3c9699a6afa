"""Writes answers over quoted evidence with a local or a hosted model."""
