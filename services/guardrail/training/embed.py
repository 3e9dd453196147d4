"""The corpus as training windows with the encoder's vectors, kept in a folder so that training can be run again.

    python training/embed.py --corpus corpus.jsonl --out FOLDER

Of a long text one window is drawn. Texts are also changed as people and attackers change them
(case, typing errors, look-alikes, missing marks): attacks and benign texts alike, so that it is no sign of either.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from mutx_guardrail.classifiers.encoder import Encoder, model_file, tokenizer_file
from mutx_guardrail.classifiers.windows import split

LAYERS: Final = (4,)
_ALIKE: Final = str.maketrans("aeiopcxyTAEOKM", "аеіорсхуТАЕОКМ")
_LEET: Final = str.maketrans("aeiost", "431057")


def _typo(text: str, draw: random.Random) -> str:
    letters = list(text)
    for _ in range(max(1, len(text) // 40)):
        at = draw.randrange(len(letters))
        kind = draw.random()
        if kind < 0.4 and at + 1 < len(letters):
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
        elif kind < 0.7:
            letters[at] = ""
        else:
            letters[at] *= 2
    return "".join(letters)


def _some_words(table: dict[int, int]) -> Callable[[str, random.Random], str]:
    def change(text: str, draw: random.Random) -> str:
        return " ".join(word.translate(table) if draw.random() < 0.35 else word for word in text.split(" "))

    return change


def _spaced(text: str, draw: random.Random) -> str:
    return " ".join(" ".join(word) if draw.random() < 0.2 else word for word in text.split(" "))


CHANGES: Final[tuple[Callable[[str, random.Random], str], ...]] = (
    lambda text, _: text.lower(),
    lambda text, _: text.upper(),
    lambda text, _: text.rstrip(".!?"),
    lambda text, _: "".join(letter for letter in text if letter not in ",.!?'\""),
    _typo,
    _typo,
    _some_words(_ALIKE),
    _some_words(_LEET),
    _spaced,
)


def variants(text: str, draw: random.Random, share: float) -> list[str]:
    """Return the text, and for some a changed copy."""
    if len(text) < 3 or draw.random() >= share:
        return [text]
    return [text, draw.choice(CHANGES)(text[:1500], draw)]


def main() -> None:
    """Write `rows.jsonl` (one line a window) and `hidden.npy` (all pieces' vectors, one after the other)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--changed", type=float, default=0.2)
    parser.add_argument("--all-windows", action="store_true")
    parser.add_argument("--part", type=int, default=0, help="which of the parts that run side by side")
    parser.add_argument("--parts", type=int, default=1)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    encoder = Encoder(model_file().read_bytes(), tokenizer_file().read_bytes(), LAYERS)
    lengths = []
    with (options.out / "rows.jsonl").open("w") as rows, (options.out / "hidden.f16").open("wb") as vectors:
        for number, line in enumerate(options.corpus.open(encoding="utf-8")):
            if number % options.parts != options.part:
                continue
            row = json.loads(line)
            # Seeded by the text alone, so that what is added to the corpus changes no other text's windows.
            draw = random.Random(row["text"])
            for variant, text in enumerate(variants(row.pop("text"), draw, options.changed)):
                tokens = encoder.tokens(text)
                windows = list(split(tokens, len(text)))
                for place in range(len(windows)) if options.all_windows else [draw.randrange(len(windows))]:
                    window = windows[place]
                    ids = tokens.ids[window.first : window.last]
                    vectors.write(encoder.hidden(ids).astype(np.float16).tobytes())
                    lengths.append(len(ids) + 2)
                    rows.write(
                        json.dumps(
                            {
                                **row,
                                "document": 2 * number + variant,
                                "text": text[window.start : window.end],
                                "ids": ids.tolist(),
                            },
                            ensure_ascii=False,
                        )
                        + "\n"
                    )
            if number % 2000 < options.parts:
                print(number, sum(lengths), flush=True)
    np.save(options.out / "lengths.npy", np.array(lengths))
    print(f"{len(lengths)} windows, {sum(lengths)} pieces")


if __name__ == "__main__":
    main()
