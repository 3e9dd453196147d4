"""What the database refuses, in the words that a caller is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mutx_service.problem import Problem
from psycopg.errors import IntegrityError
from sqlalchemy import exc as sql


@contextmanager
def refusing(constraints: Mapping[str, tuple[str, str]]) -> Iterator[None]:
    """Turn a violation of one of some constraints into the problem (code, detail) that stands beside its name.

    The transaction cannot go on after it.
    """
    try:
        yield
    except sql.IntegrityError as exc:
        name = exc.orig.diag.constraint_name if isinstance(exc.orig, IntegrityError) else None
        if name is None or name not in constraints:
            raise
        raise Problem(*constraints[name]) from exc
