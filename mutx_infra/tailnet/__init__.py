"""The tailnet: its policy as a pure function of the registry, and what a policy lets through."""
