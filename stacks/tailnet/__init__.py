"""The tailnet's stack: one for each tailnet, and nobody else sets what it sets."""
