"""The reference agent: the contract of a tenant's agents (docs/reference/agent-contract.md), on LangChain."""
