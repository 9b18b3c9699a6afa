"""One technology each: models, providers, the journal, and the services that generate asks."""
