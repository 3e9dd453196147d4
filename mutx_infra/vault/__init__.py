"""A tenant's Vault: what it holds, who may do what in it, and what the tenant's administrator does there."""
