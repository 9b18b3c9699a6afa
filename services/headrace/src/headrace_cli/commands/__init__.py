"""The commands, by what they are about: each module's `register(app)` adds its own."""
