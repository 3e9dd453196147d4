"""Layer 1: a versioned pack of patterns, matched in linear time on every reading of a text."""
