"""Runs of agents for a caller: judged on the way in, sent over mTLS, judged on the way out (GUARD-1)."""
