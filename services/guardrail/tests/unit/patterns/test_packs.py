"""Each rule of a pack finds its own examples, leaves its counter-examples alone, and names where it comes from."""

from __future__ import annotations

import re

import pytest
from mutx_guardrail.document import Origin
from mutx_guardrail.normalise.reading import read_text
from mutx_guardrail.patterns.detector import PatternDetector
from mutx_guardrail.patterns.pack import load_pack

PACKS = {name: load_pack(name) for name in ("injection", "toxicity")}
DETECTORS = {name: PatternDetector(pack) for name, pack in PACKS.items()}
RULES = [pytest.param(name, rule, id=rule.id) for name, pack in PACKS.items() for rule in pack.rules]


def rules_that_hit(name, text, origins=()):
    signal = DETECTORS[name].judge(read_text(text, next(iter(origins), Origin.USER)))
    return {finding.rule for finding in signal.findings}


@pytest.mark.parametrize(("name", "rule"), RULES)
def test_a_rule_finds_what_it_says_it_finds(name, rule):
    missed = [text for text in rule.match if rule.id not in rules_that_hit(name, text, rule.origins)]

    assert missed == []


@pytest.mark.parametrize(("name", "rule"), RULES)
def test_a_rule_leaves_alone_what_it_says_it_does(name, rule):
    found = [text for text in rule.exempt if rule.id in rules_that_hit(name, text, rule.origins)]

    assert found == []


@pytest.mark.parametrize(("name", "rule"), RULES)
def test_a_rule_names_its_reference(name, rule):
    assert re.fullmatch(r"AML\.T\d{4}(\.\d{3})?|OWASP-LLM\d\d|MLCommons-S\d\d?", rule.reference)
