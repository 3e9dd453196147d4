"""Where time, ids and randomness come from."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything about a call that differs at the next one.

    Attributes:
        clock: seconds since 1970.
        monotonic: seconds that only go forward.
        make_id: a random id.
        random_bytes: so many, of the system.
    """

    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    make_id: Callable[[], UUID] = uuid.uuid4
    random_bytes: Callable[[int], bytes] = secrets.token_bytes

    def now(self) -> datetime:
        """Return the clock's time, in UTC."""
        return datetime.fromtimestamp(self.clock(), UTC)
