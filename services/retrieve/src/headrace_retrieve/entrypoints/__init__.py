"""Topics and calls: decode, call the handler, encode."""
