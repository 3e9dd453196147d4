"""For tests of hosts: the guard's two units without models."""
