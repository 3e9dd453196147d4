"""Keys and tokens of known forms (`data/secrets/secrets.yml`), in a text and in its decoded readings."""

from __future__ import annotations

import base64
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from mutx_guardrail.document import Document, View
from mutx_guardrail.layer import Signal
from mutx_guardrail.pii.encoded import readings
from mutx_guardrail.pii.matching import Haystack, Pattern
from mutx_guardrail.pii.pack import Pack, load_pack
from mutx_guardrail.verdict import Finding, Layer, Span

_USUAL_CONFIDENCE: Final = 0.95

# Shannon entropy in bits for a character: `hunter2hunter2` has 2.8, a random token of 20 letters and digits about 4.
_LEAST_ENTROPY: Final = 2.8
_REPEATED: Final = re.compile(r"<([^<>]*)\*(\d+)>")

_PLACEHOLDER: Final = re.compile(
    r"(?i)example|placeholder|changeme|change_me|your|dummy|redacted|sample|xxxx|\*\*\*|\.\.\.|foobar|insert|replace"
    r"|^(?:user|pass|password|passwd|secret|token|test|none|null|true|false|undefined)$"
)
# What stands behind `password =` in source text and is no password: a name, an attribute, a call, a variable, a URL.
_CODE: Final = re.compile(
    r"(?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*|\$\w+|%\w+%|[a-z]+(?:[_-][a-z]+)*|[A-Z]+(?:_[A-Z]+)*|\w+://.*"
)


@dataclass(frozen=True, slots=True)
class SecretRule:
    """One form of one vendor's key."""

    id: str
    kind: str
    pattern: Pattern
    keywords: tuple[bytes, ...]
    check: Callable[[str], bool]
    confidence: float
    matches: tuple[str, ...]
    rejects: tuple[str, ...]
    reference: str

    def find(self, hay: Haystack, lowered: bytes) -> Iterator[Span]:
        """Return where a text has it, in code points of the reading."""
        if not any(keyword in lowered for keyword in self.keywords):
            return
        for hit in hay.hits(self.pattern):
            value = hay.text[hit.start : hit.end]
            if _stands_alone(hay.text, hit.start, hit.end) and "EXAMPLE" not in value and self.check(value):
                yield Span(hit.start, hit.end)


class SecretDetector:
    """Finds secrets; safe to share between threads."""

    layer = Layer.PATTERNS

    def __init__(self, rules: Sequence[SecretRule]) -> None:
        self.rules = tuple(rules)

    def judge(self, document: Document) -> Signal:
        """Return what is found in the text or in what is encoded in it, in spans of the given text without overlaps.

        Of a reading that was decoded, the span is the whole encoded piece.
        """
        findings = _without_overlaps(
            [finding for view in readings(document) for finding in self._in_view(view)]
        )
        return Signal(self.layer, max((f.confidence for f in findings), default=0.0), findings)

    def _in_view(self, view: View) -> Iterator[Finding]:
        hay = Haystack(view.text)
        lowered = hay.data.lower()
        for rule in self.rules:
            for span in rule.find(hay, lowered):
                place = view.original(span.start, span.end)
                yield Finding(rule.kind, place, rule.confidence, self.layer, rule.id, view.name)


def secret_detector() -> SecretDetector:
    """Return the detector with the rules that the package ships."""
    pack = load_pack("secrets", "secrets.yml")
    return SecretDetector([_rule(pack, entry) for entry in pack.sections["secrets"]])


def expand_example(text: str) -> str:
    """Return an example of the pack as it is meant: `<ab*3>` is `ababab`."""
    return _REPEATED.sub(lambda piece: piece[1] * int(piece[2]), text)


def has_entropy(value: str) -> bool:
    """Say whether the value is neither a placeholder nor a few characters again and again."""
    return not _PLACEHOLDER.search(value) and _entropy(value) >= _LEAST_ENTROPY


def is_assigned_secret(value: str) -> bool:
    """Say whether what is assigned to a `password` or `key` looks made up, and is no word, name or piece of code."""
    value = value.rstrip(".!?:")
    kinds = (any(map(str.islower, value)), any(map(str.isupper, value)), any(map(str.isdigit, value)))
    return has_entropy(value) and not _CODE.fullmatch(value) and (sum(kinds) > 1 or not value.isalnum())


def is_jwt(value: str) -> bool:
    """Say whether the header decodes to a JSON object with `alg`."""
    head = value.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in header


def has_url_password(value: str) -> bool:
    """Say whether the password of a URL is there and no placeholder."""
    try:
        password = urlsplit(value).password or ""
    except ValueError:
        return False
    return bool(password) and not _PLACEHOLDER.search(password) and password[0] not in "${<%["


_CHECKS: Final[Mapping[str, Callable[[str], bool]]] = {
    check.__name__: check for check in (has_entropy, is_assigned_secret, is_jwt, has_url_password)
}


def _rule(pack: Pack, entry: Mapping[str, Any]) -> SecretRule:
    return SecretRule(
        id=entry["id"],
        kind=entry["kind"],
        pattern=pack.pattern(entry["pattern"]),
        keywords=tuple(keyword.encode() for keyword in entry["keywords"]),
        check=_CHECKS[entry["check"]] if "check" in entry else bool,
        confidence=entry.get("confidence", _USUAL_CONFIDENCE),
        matches=tuple(map(expand_example, entry["matches"])),
        rejects=tuple(map(expand_example, entry["rejects"])),
        reference=entry["reference"],
    )


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Say whether the value is no part of a longer run of letters and digits; what a group left of it is not asked."""
    inside = [text[max(0, start - 1) : start], text[start], text[end - 1], text[end : end + 1]]
    before, first, last, after = (character.isalnum() or character == "_" for character in inside)
    return not (before and first) and not (last and after)


def _entropy(value: str) -> float:
    counts = Counter(value).values()
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts)


def _without_overlaps(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings with those that overlap made one: the surest, over the span of all."""
    kept: list[Finding] = []
    for finding in sorted(findings, key=lambda f: (f.span, -f.confidence)):
        if not kept or not kept[-1].span.overlaps(finding.span):
            kept.append(finding)
            continue
        surest = max(kept[-1], finding, key=lambda f: f.confidence)
        kept[-1] = replace(surest, span=Span(kept[-1].span.start, max(kept[-1].span.end, finding.span.end)))
    return tuple(kept)
