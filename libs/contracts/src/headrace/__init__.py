"""Generated stubs and topic descriptors of the Headrace contracts; no logic."""
