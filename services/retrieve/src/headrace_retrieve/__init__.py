"""The only path to the data: hybrid search with permissions."""
