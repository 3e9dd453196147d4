"""One text for each JSON value, so that its hash names it."""

from __future__ import annotations

import json


def canonical_json(value: object) -> bytes:
    """Return a value as JSON with sorted keys and no white space, in UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
