"""What a service says: one JSON object a line on stdout, which the journal keeps.

Our own events have fields that were chosen. Anything a library logs is reduced to its place in the code: its words
may quote a prompt, an answer or a header.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO

OURS = "mutx_service"
_FIELDS = "mutx_fields"
_MUST = "mutx_must"
_FRAMES = 6

_logger = logging.getLogger(OURS)


def write_event(event: str, fields: Mapping[str, object], *, level: int = logging.INFO) -> None:
    """Write one event of ours; the values are for the journal as they are."""
    _logger.log(level, event, extra={_FIELDS: dict(fields)})


def must_write_event(event: str, fields: Mapping[str, object]) -> None:
    """Write one event, or fail: for what may not happen without its line.

    Raises:
        OSError: the line was not taken.
    """
    _logger.info(event, extra={_FIELDS: dict(fields), _MUST: True})


def set_up_logging(stream: TextIO) -> None:
    """Send every logger, warning and unhandled exception of this process to `stream`, one line each."""
    handler = _Handler(stream)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _logger.setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False
    sys.excepthook = _log_unhandled


class _Handler(logging.StreamHandler[TextIO]):
    """A line that has to be written fails its writer; any other is lost in silence when the stream is gone."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        """Raise again what `emit` met, where the record asks for it."""
        if getattr(record, _MUST, False):
            raise  # noqa: PLE0704 - called from within `emit`'s except
        super().handleError(record)


class JsonLines(logging.Formatter):
    """A line of JSON per record; a record that is not ours loses its words."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. A value that is not JSON is shown as its type alone."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        if record.name == OURS:
            line |= {"event": record.msg, **getattr(record, _FIELDS, {})}
        else:
            line |= {
                "event": "library",
                "logger": record.name,
                "where": f"{record.filename}:{record.lineno}",
            }
        if record.exc_info and record.exc_info[0] is not None:
            line |= describe_exception(record.exc_info[0], record.exc_info[2])
        return json.dumps(line, default=lambda value: type(value).__name__, ensure_ascii=True)


def describe_exception(kind: type[BaseException], where: TracebackType | None) -> dict[str, object]:
    """Return an exception's type and innermost frames, without its words, which may quote anything."""
    frames = traceback.extract_tb(where)[-_FRAMES:]
    return {
        "error": f"{kind.__module__}.{kind.__qualname__}",
        "frames": [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames],
    }


def _log_unhandled(kind: type[BaseException], _error: BaseException, where: TracebackType | None) -> None:
    write_event("unhandled", describe_exception(kind, where), level=logging.CRITICAL)
