"""The words and forms of a route for OpenAPI; bodies are parsed by `question`, which is stricter than FastAPI."""

from __future__ import annotations

from typing import Any

from mutx_guardrail.service.question import Question
from mutx_guardrail.verdict import Action, CheckName, Layer, Reason

_NUMBER = {"type": "number", "minimum": 0, "maximum": 1}
_VERDICT = {
    "type": "object",
    "required": ["allowed", "latency_ms", "model"],
    "properties": {
        "allowed": {"type": "boolean"},
        "reason": {"type": "string", "enum": [each.value for each in Reason]},
        "details": {"type": "string"},
        "confidence": _NUMBER,
        "action": {"type": "string", "enum": [each.value for each in Action]},
        "checks": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "passed", "confidence", "findings"],
                "properties": {
                    "name": {"type": "string", "enum": [each.value for each in CheckName]},
                    "passed": {"type": "boolean"},
                    "confidence": _NUMBER,
                    "score": _NUMBER,
                    "action": {"type": "string", "enum": [each.value for each in Action]},
                    "decided_by": {"type": "string", "enum": [each.value for each in Layer]},
                    "unavailable": {"type": "array", "items": {"type": "string"}},
                    "findings": {"type": "array", "items": {"type": "object"}},
                    "wait_s": {"type": "number", "minimum": 0},
                },
            },
        },
        "latency_ms": {"type": "number"},
        "model": {"type": "string"},
        "policy": {"type": "string"},
        "degraded": {"type": "array", "items": {"type": "string", "enum": [each.value for each in Layer]}},
        "sanitized": {"type": "string"},
        "retry_after_s": {"type": "number", "minimum": 0},
        "review": {"type": "string"},
    },
}
_PROBLEM = {
    "description": "A problem (RFC 9457)",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "properties": {"code": {"type": "string"}, "detail": {"type": "string"}},
            }
        }
    },
}


def described(summary: str, question: type[Question] | None = None) -> dict[str, Any]:
    """Return what FastAPI is told of a route."""
    words: dict[str, Any] = {"summary": summary, "responses": {"default": _PROBLEM}}
    if question is None:
        return words
    schema = question.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    words["openapi_extra"] = {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}
    }
    words["responses"] |= {
        200: {"description": "The answer", "content": {"application/json": {"schema": _VERDICT}}}
    }
    return words
