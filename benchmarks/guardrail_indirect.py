"""Measure how well the guardrail sees instructions that are planted in what an agent reads, and what it takes for one.

`.venv/bin/python benchmarks/guardrail_indirect.py --packages FOLDER` prints Markdown; `--write` puts it into
docs/reference/accuracy-indirect.md. FOLDER holds AgentDojo's wheel (`pip download --no-deps agentdojo==0.1.35`);
without it that part is left out. Texts come of `indirect_cases.py`, the half `test` alone.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from indirect_cases import Text, agentdojo, attacked, ordinary
from mutx_guardrail.document import Origin
from mutx_guardrail.intent import IntentDetector
from mutx_guardrail.normalise.reading import read_text
from mutx_guardrail.offline import OfflineGuard
from mutx_guardrail.policy import Foreign, parse_policy
from mutx_guardrail.verdict import Action
from page import paragraph, publish
from subjects import ROOT, commit

PAGE = ROOT / "docs" / "reference" / "accuracy-indirect.md"
POLICY = (
    "{{version: 1, layers: {}, input: {{length: {{max_tokens: 200000}}, toxic_content: {{enabled: false}}}}}}"
)
LAYERS = {
    "without `intent`": "[normalise, patterns, classifier]",
    "with `intent`": "[normalise, patterns, intent, classifier]",
}
SAMPLE = 60


@dataclass(frozen=True)
class Judged:
    """A text and what came of it."""

    text: Text
    refused: bool
    withheld: bool

    @property
    def acted(self) -> bool:
        """Whether anything came of it."""
        return self.refused or self.withheld


def main(arguments: Sequence[str]) -> int:
    """Judge the texts and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--packages", type=Path, help="a folder with AgentDojo's wheel")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="texts of each kind that all layers judge")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    texts = [
        *ordinary("test"),
        *attacked("test"),
        *(agentdojo("test", options.packages) if options.packages else ()),
    ]
    judged, per_kilobyte = _by_intent(texts)
    attacks = [each for each in judged if each.text.planted]
    told = [
        "# Accuracy of the guardrail against instructions in foreign text\n",
        paragraph(
            f"Measured by `benchmarks/guardrail_indirect.py` on {datetime.now(UTC):%Y-%m-%d} at commit {commit()}. "
            "*Refused* and *withheld* are at the built-in thresholds. Authored instructions, wrappers and documents of "
            "this half (`benchmarks/corpora`) were written before the rules, and rules and weights were made on the "
            "other half; its aggregate figures were looked at while they were. AgentDojo's goals and templates were "
            "known. A text of origin `tool` and one of origin `retrieved` are judged alike."
        ),
        f"\nThe layer took {per_kilobyte:.2f} ms of a busy core for a kilobyte.\n",
        "## The layer `intent` alone: planted instructions\n",
        *_table("source", attacks, lambda text: text.source.split()[0]),
        *_table("family", attacks, lambda text: text.family),
        *_table("place", attacks, lambda text: text.position),
        *_table("document", attacks, lambda text: text.kind),
        *_table("language", attacks, lambda text: text.lang),
        *_table("wrapper", attacks, _wrapper),
        "## The layer `intent` alone: ordinary texts\n",
        *_table("source and kind", [each for each in judged if not each.text.planted],
                lambda text: f"{text.source}, {text.kind}"),
        *_table("language", [each for each in judged if not each.text.planted], lambda text: text.lang),
        *_whole(texts, options.sample),
    ]  # fmt: skip
    publish(PAGE, "\n".join(told) + "\n", write=options.write)
    return 0


def _by_intent(texts: Sequence[Text]) -> tuple[list[Judged], float]:
    """Return what the layer alone says, and its milliseconds of CPU for a kilobyte."""
    detector, foreign = IntentDetector(), Foreign()
    judged, spent = [], 0.0
    for text in texts:
        document = read_text(text.text, Origin.RETRIEVED)
        began = time.process_time()
        score = detector.judge(document, text.purpose).score
        spent += time.process_time() - began
        judged.append(
            Judged(text, score >= foreign.block_from, foreign.mask_from <= score < foreign.block_from)
        )
    return judged, spent * 1e6 / sum(len(text.text.encode()) for text in texts)


def _whole(texts: Sequence[Text], sample: int) -> list[str]:
    """Return what layers 0 to 2 make of a sample, without and with the layer."""
    draw = random.Random(3)
    groups = {
        "authored, planted": [text for text in texts if text.planted and text.source == "authored"],
        "AgentDojo, planted": [text for text in texts if text.planted and text.source != "authored"],
        "authored, ordinary": [text for text in texts if not text.planted and text.source == "authored"],
        "others', ordinary": [text for text in texts if not text.planted and text.source != "authored"],
    }
    chosen = {name: draw.sample(own, min(sample, len(own))) for name, own in groups.items() if own}
    told = [
        "## Layers 0 to 2 together\n",
        paragraph(
            f"At most {sample} texts of each kind. Without `intent` the classifier counts in foreign text as in the "
            "user's, at a lower threshold; with it, where `intent` does not know the language."
        ),
        "\n| layers | texts | number | refused | withheld |\n| --- | --- | --- | --- | --- |",
    ]
    for name, layers in LAYERS.items():
        guard = OfflineGuard(parse_policy(POLICY.format(layers)))
        with asyncio.Runner() as runner:
            for group, own in chosen.items():
                judged = [_judged(runner, guard, text) for text in own]
                told.append(
                    f"| {name} | {group} | {len(own)} | {_share(judged, 'refused')} | {_share(judged, 'withheld')} |"
                )
    return [*told, ""]


def _judged(runner: asyncio.Runner, guard: OfflineGuard, text: Text) -> Judged:
    verdict = runner.run(guard.judge(text.text, "input", "", Origin.RETRIEVED))
    check = next(each for each in verdict.checks if each.name == "prompt_injection")
    return Judged(text, check.action is Action.BLOCK, check.action is Action.MASK)


def _table(what: str, judged: Sequence[Judged], name: Callable[[Text], str]) -> list[str]:
    groups = defaultdict(list)
    for each in judged:
        groups[name(each.text)].append(each)
    told = [f"| {what} | texts | refused | withheld | either |", "| --- | --- | --- | --- | --- |"]
    for key, own in [*sorted(groups.items()), ("**all**", list(judged))]:
        told.append(
            f"| {key} | {len(own)} | {_share(own, 'refused')} | {_share(own, 'withheld')} | {_share(own, 'acted')} |"
        )
    return [*told, ""]


def _wrapper(text: Text) -> str:
    return f"{text.wrapper} (AgentDojo)" if text.family == "agentdojo" else text.wrapper


def _share(judged: Sequence[Judged], what: str) -> str:
    return f"{sum(getattr(each, what) for each in judged) / len(judged):.2f}" if judged else "-"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
