"""What is done to an agent's output: secrets found, text escaped for its sink, length cut at a boundary."""
