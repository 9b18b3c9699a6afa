"""Where messages and calls come in: decode, call the use case, encode."""
