"""The error taxonomy and the reaction table; standard library only."""
