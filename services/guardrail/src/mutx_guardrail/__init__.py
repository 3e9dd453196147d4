"""EvalView's guardrail: a service on the tenant's own host that judges all input to and output from its agents."""
