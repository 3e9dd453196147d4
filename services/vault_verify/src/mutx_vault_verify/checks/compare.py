"""What every kind of check has in common: two sets of names, and an answer beside its expectation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mutx_vault_verify.check import Check, extra, judged, missing, unknown
from mutx_vault_verify.document import shown
from mutx_vault_verify.matching import differences
from mutx_vault_verify.problem import Unanswered
from mutx_vault_verify.vault import Source


def attempt(name: str, look: Callable[[], Iterable[Check]]) -> list[Check]:
    """Return the checks of one kind; where the Vault leaves a question open, what was found before and `unknown`."""
    found: list[Check] = []
    try:
        for each in look():
            found.append(each)  # noqa: PERF402 - what came before a failure counts
    except Unanswered as reason:
        found.append(unknown(name, str(reason)))
    return found


def each_of(
    kind: str, expected: Mapping[str, Any], found: Mapping[str, Any], optional: Iterable[str] = ()
) -> Iterator[Check]:
    """Yield one check for each thing that is expected or found."""
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            if name not in optional:
                yield missing(f"{kind} {name}")
        elif name not in expected:
            yield extra(f"{kind} {shown(name)}")
        else:
            yield judged(f"{kind} {name}", differences(expected[name], found[name]))


def read_each(source: Source, directory: str, names: Iterable[str]) -> dict[str, Any]:
    """Return what lies at each of some names that were listed.

    Raises:
        Unanswered: one is not there; it went away just now, or is kept from us.
    """
    answers = {}
    for name in names:
        answer = source.get(f"{directory}/{name}")
        if answer is None:
            raise Unanswered(f"{directory}/{shown(name)} is listed and is not there")
        answers[name] = dict(answer)
    return answers
