"""The layer that judges foreign text by what it wants of the agent."""

from mutx_guardrail.intent.detector import IntentDetector

__all__ = ["IntentDetector"]
