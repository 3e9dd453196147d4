"""Who calls, and how it is proven: tokens of providers and of our own, sessions, API keys, passwords."""
