"""The HTTP side of the guardrail: who may ask, the form of questions and answers, metrics, the process."""
