"""Names for resources whose program gives none, by the engine's random seed and its autonaming rules."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from mutx_sandbox.aws.resource import Naming
from mutx_sandbox.bridge.check import DEFAULTS
from mutx_sandbox.bridge.values import Properties, has_unknown

_DIGITS = 7
_PREFIXED_DIGITS = 26
"""Terraform's suffix after a `namePrefix`: a timestamp and a counter, 26 digits."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the engine says about naming.

    Attributes:
        logical_name: the resource's name in the program.
        seed: randomness that is the same in preview and update; may be empty.
        proposed: a name from the project's autonaming pattern, "" for none.
        mode: `PROPOSE`, `ENFORCE` or `DISABLE`.
    """

    logical_name: str
    seed: bytes = b""
    proposed: str = ""
    mode: str = "PROPOSE"


class NamingError(ValueError):
    """No name can be given; the message says why."""


def name_for(naming: Naming, request: Request, inputs: Properties, old_inputs: Properties) -> str | None:
    """Return the name to fill in, or None if the program says one.

    A name given before is kept, so that a resource is not replaced for having been renamed by chance.

    Raises:
        NamingError: autonaming is off, or the enforced name is too long.
    """
    if inputs.get(naming.property) is not None:
        return None
    prefix = inputs.get(naming.prefix)
    if _was_given(naming, old_inputs) and old_inputs.get(naming.prefix) == prefix:
        return str(old_inputs[naming.property])
    if prefix is not None:
        if has_unknown(prefix):
            return str(prefix)
        return f"{prefix}{_digits(request, _PREFIXED_DIGITS)}"
    if request.mode == "DISABLE":
        raise NamingError(f"automatic naming is disabled but no explicit {naming.property} is set")
    if request.proposed:
        if len(request.proposed) > naming.longest:
            raise NamingError(f"the proposed name is longer than {naming.longest} characters")
        return request.proposed
    stem = request.logical_name[: naming.longest - _DIGITS - 1]
    return f"{stem}-{_digits(request, _DIGITS)}"


def was_given_by_us(naming: Naming, inputs: Properties) -> bool:
    """Say whether a resource's name came from here, so that a replacement gets another one."""
    return _was_given(naming, inputs)


def _was_given(naming: Naming, inputs: Properties) -> bool:
    return naming.property in (inputs.get(DEFAULTS) or []) and naming.property in inputs


def _digits(request: Request, count: int) -> str:
    if not request.seed:
        return secrets.token_hex(count)[:count]
    return hashlib.sha256(request.seed + request.logical_name.encode()).hexdigest()[:count]
