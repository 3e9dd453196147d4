"""URLs of databases: as the driver needs them, and as they may be shown."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import exc as sql

from mutx_control_plane.store.errors import StoreError


def driver_url(url: str) -> sa.URL:
    """Return a `postgresql://` URL with its driver.

    Raises:
        StoreError: `database-url-invalid`; the URL itself is not told, for its password.
    """
    try:
        parsed = sa.make_url(url)
    except (sql.ArgumentError, ValueError):
        raise _invalid("it cannot be parsed") from None
    if parsed.drivername not in {"postgresql", "postgresql+psycopg"}:
        raise _invalid(f"{parsed.drivername!r} is not supported")
    return parsed.set(drivername="postgresql+psycopg")


def shown(url: str) -> str:
    """Return a URL without its password and options."""
    return driver_url(url).set(query={}).render_as_string(hide_password=True)


def _invalid(reason: str) -> StoreError:
    return StoreError(
        f"the database's URL cannot be used: {reason}",
        code="database-url-invalid",
        remedy="write it as postgresql://USER@HOST/DATABASE",
    )
