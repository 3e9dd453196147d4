"""Layer 2: the classifiers for prompt injection and toxic content."""

from mutx_guardrail.classifiers.detector import Classifiers, WindowDetector, load_classifiers

__all__ = ["Classifiers", "WindowDetector", "load_classifiers"]
