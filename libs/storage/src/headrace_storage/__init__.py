"""SQL engines and the content-addressed blob store."""
