"""What keeps the store from opening, in words for whoever starts the service. Callers are told problems instead."""

from __future__ import annotations


class StoreError(Exception):
    """The database cannot be used as it is.

    Args:
        message: what is wrong; no password.
        code: stable, for logs.
        remedy: what to do next.
    """

    def __init__(self, message: str, *, code: str, remedy: str) -> None:
        super().__init__(message)
        self.code, self.remedy = code, remedy
