"""The guard host's egress: the agents' only way out to the LLM providers."""
