"""The API of the control plane: who calls, what they may do, agents, approvals, audit."""
