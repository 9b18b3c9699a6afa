"""The `headrace` command and the supervisor of the embedded platform; it talks to services through the SDK only."""
