"""An LLM provider's wire on loopback: real HTTP, scripted answers, every call recorded. For tests and demos only."""

from mutx_provider_double.reply import Call, Reply, ToolCall
from mutx_provider_double.server import ProviderDouble

__all__ = ["Call", "ProviderDouble", "Reply", "ToolCall"]
