"""Sequences of log events in the order of their times, in bounded memory: merged, compared, as lines of JSON."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import TypeVar

from mutx_infra.records import LogEvent

Item = TypeVar("Item")
_TIME = attrgetter("timestamp")


def merged(
    sources: Iterable[tuple[int, Callable[[], Iterator[Item]]]], time_of: Callable[[Item], int]
) -> Iterator[Item]:
    """Merge sorted sequences; one is begun only once its first time is reached, so that few are open at once.

    Args:
        sources: each with the time of its first item.
        time_of: the time of an item.
    """
    waiting = deque(sorted(sources, key=itemgetter(0)))
    begun: list[tuple[int, int, Item, Iterator[Item]]] = []
    number = 0
    while waiting or begun:
        while waiting and (not begun or waiting[0][0] <= begun[0][0]):
            items = waiting.popleft()[1]()
            number += 1
            _push(begun, number, items, time_of)
        if begun:
            _time, place, item, items = heappop(begun)
            yield item
            _push(begun, place, items, time_of)


def _push(
    begun: list[tuple[int, int, Item, Iterator[Item]]],
    number: int,
    items: Iterator[Item],
    time_of: Callable[[Item], int],
) -> None:
    for item in items:
        heappush(begun, (time_of(item), number, item, items))
        return


def difference(events: Iterator[LogEvent], others: Iterator[LogEvent]) -> Iterator[LogEvent]:
    """Yield the events that are not among others, each as often as it is missing there; reads both to their ends.

    Only events of one time are held at once. What is out of order counts as missing: rather twice than never.
    """
    grouped = groupby(others, key=_TIME)
    time, spare = -1, Counter[LogEvent]()
    for now, found in groupby(events, key=_TIME):
        while time < now:
            time, group = next(grouped, (1 << 63, iter(())))
            spare = Counter(group)
        for event in found:
            if time == now and spare[event] > 0:
                spare[event] -= 1
            else:
                yield event
    for _time, group in grouped:
        deque(group, maxlen=0)


def to_line(event: LogEvent) -> bytes:
    """Return an event as a line of JSON in ASCII, which loses nothing of its message."""
    named = {
        "timestamp": event.timestamp,
        "ingestion_time": event.ingestion_time,
        "stream": event.stream,
        "message": event.message,
    }
    return f"{json.dumps(named, separators=(',', ':'))}\n".encode("ascii")


def from_line(line: bytes) -> LogEvent:
    """Return the event of a line."""
    named = json.loads(line)
    return LogEvent(named["timestamp"], named["ingestion_time"], named["stream"], named["message"])
