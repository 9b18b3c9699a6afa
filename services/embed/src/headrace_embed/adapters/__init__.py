"""One technology each: the model that runs here, and usage on the bus."""
