"""The authored corpora, expanded: alternatives chosen, slots filled, attacks put into carriers.

Every draw comes from one seeded generator per source, so that the corpus is the same each time.
"""

from __future__ import annotations

import base64
import codecs
import json
import random
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from mutx_guardrail.classifiers.encoder import tokenizer_file
from packages import Row

ALONE: Final = 18
CARRIED: Final = 8
CORPORA: Final = Path(__file__).resolve().parent / "corpora"
_ALTERNATIVES: Final = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_SLOT: Final = re.compile(r"\{([a-z_0-9]+)\}")


def _read(name: str) -> Any:  # noqa: ANN401 - a corpus document
    return yaml.safe_load((CORPORA / name).read_text("utf-8"))


@cache
def _pieces() -> list[str]:
    """The word pieces of the encoder's vocabulary, rare ones too."""
    vocabulary = json.loads(tokenizer_file().read_text("utf-8"))["model"]["vocab"]
    return [piece for piece, number in sorted(vocabulary.items(), key=lambda each: each[1]) if number > 1_500]


class Grammar:
    """Expands a line: `[a|b]` is one of the alternatives, `{slot}` a value of the slot."""

    def __init__(self, seed: str) -> None:
        self.draw = random.Random(seed)
        self._slots: dict[str, list[str]] = _read("slots.en.yaml")
        self._pieces = _pieces()
        self._made: dict[str, Callable[[], str]] = {
            "harm_lower": lambda: self._one("harm"),
            "harm_verb": lambda: self._one("harm"),
            "harm_cap": lambda: _capital(self._one("harm")),
            "benign_cap": lambda: _capital(self._one("benign_task")),
            "benign_task_cap": lambda: _capital(self._one("benign_task")),
            "exfil_cap": lambda: _capital(self._one("exfil")),
            "group_cap": lambda: _capital(self._one("group")),
            "half_a": lambda: self._half(0),
            "half_b": lambda: self._half(1),
            "b64goal": lambda: _b64(self._one("goal")),
            "rotgoal": lambda: codecs.encode(self._one("goal"), "rot13"),
            "revgoal": lambda: self._one("goal")[::-1],
            "b64benign": lambda: _b64(self._one("benign")),
            "b64blob": lambda: base64.b64encode(self.draw.randbytes(90)).decode(),
            "hex": lambda: self.draw.randbytes(3).hex(),
            "hex2": lambda: self.draw.randbytes(5).hex(),
        }

    def expand(self, line: str, **fixed: str) -> str:
        """Return one text of the line."""
        while found := _ALTERNATIVES.search(line):
            line = line[: found.start()] + self.draw.choice(found[1].split("|")) + line[found.end() :]
        for _ in range(4):
            line = _SLOT.sub(lambda slot: self._fill(slot, fixed), line)
        return re.sub(r" +([,.?!])", r"\1", re.sub(r"  +", " ", line)).strip()

    def _fill(self, slot: re.Match[str], fixed: dict[str, str]) -> str:
        name = slot[1]
        if name in fixed:
            return fixed[name]
        if name in self._made:
            return self._made[name]()
        return self._one(name) if name in self._slots else slot[0]

    def _one(self, name: str) -> str:
        return self.expand(self.draw.choice(self._slots[name]))

    def _half(self, which: int) -> str:
        text = self._one("harm")
        middle = text.find(" ", len(text) // 2)
        return (text[:middle], text[middle:].strip())[which]

    def slot(self, name: str) -> list[str]:
        """Return all values of a slot."""
        return self._slots[name]

    def salad(self) -> str:
        """Return a string in the manner of an optimised suffix."""
        text = ""
        for _ in range(self.draw.randint(10, 26)):
            pool = self.draw.choices((self._pieces, self._slots["marks"], self._slots["urges"]), (12, 5, 2))[
                0
            ]
            word = self.draw.choice(pool)
            glued = word.startswith("##") and len(word) > 2
            word = self.draw.choice((str, str, str.capitalize))(word[2:] if glued else word)
            text += ("" if glued else self.draw.choice(("", " ", " ", " "))) + word
        return text.strip()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def rows() -> Iterator[Row]:
    """Yield all authored rows."""
    yield from _lines("attacks.en.yaml", "attack", 30, 1, None)
    yield from _lines("benign.en.yaml", "benign", 26, 0, 0)
    yield from _toxicity()
    yield from _moderation()
    yield from _frames()
    yield from _indirect()
    yield from _suffixes()
    yield from _languages()


def _lines(name: str, kind: str, each: int, injection: int | None, toxic: int | None) -> Iterator[Row]:
    for category, lines in _read(name).items():
        grammar = Grammar(f"{kind}-{category}")
        for line in lines:
            for _ in range(each):
                yield Row(grammar.expand(line), injection, toxic, f"authored-{kind}-{category}")


def _toxicity() -> Iterator[Row]:
    document, grammar = _read("toxic.en.yaml"), Grammar("toxicity")
    for kind, label in (("toxic", 1), ("near", 0)):
        for line in document[kind]:
            for _ in range(36):
                yield Row(grammar.expand(line), None if label else 0, label, f"authored-{kind}")


def _moderation() -> Iterator[Row]:
    """What moderation looks for, and what only speaks of it: alone, and in the same carriers."""
    categories = _read("moderation.en.yaml")
    carriers = categories.pop("carriers")
    for category, document in categories.items():
        grammar = Grammar(f"moderation-{category}")
        for kind, label in (("toxic", 1), ("near", 0)):
            lines = document[kind] * ALONE + grammar.draw.choices(document[kind], k=len(carriers) * CARRIED)
            for number, line in enumerate(lines):
                text = grammar.expand(line)
                if number >= len(document[kind]) * ALONE:
                    text = grammar.expand(carriers[number % len(carriers)]).replace("{X}", text)
                yield Row(text, None if label else 0, label, f"authored-moderation-{category}")


def _frames() -> Iterator[Row]:
    """The same scenes around a harmful and around a harmless task: the scene alone is no sign of an attack."""
    grammar = Grammar("frames")
    for frame in grammar.slot("frame"):
        for task in grammar.slot("harm"):
            yield Row(grammar.expand(frame, task=task), 1, 1, "authored-frames")
        for task in grammar.slot("benign_task"):
            yield Row(grammar.expand(frame, task=task), 0, 0, "authored-frames")


def _indirect() -> Iterator[Row]:
    document, grammar = _read("indirect.en.yaml"), Grammar("indirect")
    for carrier in document["carriers"]:
        for embedded in document["embedded"]:
            sentence = grammar.expand(embedded)
            yield Row(carrier.replace("{X}", sentence), 1, None, "authored-indirect")
        for filler in grammar.draw.sample(document["filler"], len(document["embedded"])):
            yield Row(carrier.replace("{X}", filler), 0, 0, "authored-indirect")
    for embedded in document["embedded"]:
        for _ in range(12):
            yield Row(grammar.expand(embedded), 1, None, "authored-embedded")
    yield from (Row(filler, 0, 0, "authored-embedded") for filler in document["filler"])


def _suffixes() -> Iterator[Row]:
    """Harmful requests with a token salad after them, and harmless texts with other noise."""
    grammar = Grammar("suffixes")
    for _ in range(450):
        request = _capital(grammar.expand("{harm}"))
        yield Row(f"{request} {grammar.salad()}", 1, None, "authored-suffix")
    for _ in range(300):
        noise = grammar.draw.choice([
            f"ref {grammar.draw.randbytes(8).hex()} / {grammar.draw.randint(100, 99999)}",
            "".join(grammar.draw.choice("abcdefghijklmnopqrstuvwxyz ") for _ in range(24)),
            base64.b64encode(grammar.draw.randbytes(30)).decode(),
            f"<div class=\"c-{grammar.draw.randbytes(2).hex()}\">{{{{ item.name }}}}</div>",
            f"{{\"id\": {grammar.draw.randint(1, 999)}, \"tags\": [\"a\", \"b\"], \"ok\": true}}",
            f"$ grep -rn 'x{grammar.draw.randint(1, 99)}' src/ | awk '{{print $2}}' >> out.log",
        ])  # fmt: skip
        yield Row(f"{grammar.expand('{benign}')} {noise}", 0, 0, "authored-suffix")


def _languages() -> Iterator[Row]:
    for lang, parts in _read("languages.yaml").items():
        grammar = Grammar(f"language-{lang}")
        attacks = [grammar.expand(line) for line in parts["attack"] for _ in range(12)]
        hard = [grammar.expand(line) for line in parts["hard"] for _ in range(12)]
        plain = [grammar.expand(line) for line in parts["plain"] for _ in range(12)]
        yield from (Row(text, 1, None, "authored-lang", lang) for text in attacks)
        yield from (Row(text, 0, 0, "authored-lang", lang) for text in hard + plain)
        for line in parts["toxic"]:
            yield from (Row(grammar.expand(line), None, 1, "authored-lang", lang) for _ in range(16))
        for _ in range(30):
            first, second = grammar.draw.sample(plain + hard, 2)
            yield Row(f"{first} {grammar.draw.choice(attacks)}", 1, None, "authored-lang", lang)
            yield Row(f"{first} {second}", 0, 0, "authored-lang", lang)
        for line in parts["near"]:
            yield from (Row(grammar.expand(line), 0, 0, "authored-lang", lang) for _ in range(16))
