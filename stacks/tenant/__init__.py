"""The tenant stack: one tenant's isolated network."""
