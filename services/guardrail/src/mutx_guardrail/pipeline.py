"""Judges one text: every layer that the policy names, and what follows from what they saw.

It fails closed. A layer that is late, gone or broken leaves its checks not passed, and the text is refused. Nothing of
the text goes anywhere but to the detectors and, changed as the policy says, back to the caller.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial

from mutx_guardrail.combine import (
    PATTERN_THRESHOLD,
    Outcome,
    found_check,
    join,
    length_check,
    scored_check,
    unavailable_check,
)
from mutx_guardrail.document import FOREIGN, Document, Origin, View
from mutx_guardrail.foreign import Withholding, weigh, with_intent, withheld
from mutx_guardrail.judge.family import THRESHOLD as JUDGE_THRESHOLD
from mutx_guardrail.judge.family import Direction
from mutx_guardrail.layer import LayerUnavailable, Signal
from mutx_guardrail.normalise.characters import REPLACEMENT
from mutx_guardrail.normalise.tokens import VocabularyError, count_tokens, exceeds
from mutx_guardrail.output.sinks import encode
from mutx_guardrail.output.truncate import truncate
from mutx_guardrail.panel import Case, Outcomes, Panel
from mutx_guardrail.pii.find import select_pii
from mutx_guardrail.pii.masking import Masker, Numbering, Redacting, Sealing, Tagging, mask_view
from mutx_guardrail.policy import Encoding, InputPolicy, Judged, Length, OutputPolicy, Pii, Policy, Secrets
from mutx_guardrail.spotlight import mark_foreign
from mutx_guardrail.turns import join_turns
from mutx_guardrail.verdict import Action, Check, CheckName, Finding, Layer, Reason, Verdict
from mutx_guardrail.window import STREAMABLE, Released, boundary, slice_of

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class _JudgedOutput:
    """An output with its checks; `cleaned` is None where nothing could be read."""

    rules: OutputPolicy
    checks: list[Check]
    cleaned: View | None
    make: Callable[[Iterable[Check], str], Verdict]

    def verdict(self, further: Iterable[Check], sanitized: str = "") -> Verdict:
        return self.make([*self.checks, *further], sanitized)


def utc_today() -> date:
    """Return the date by which exceptions end."""
    return datetime.now(UTC).date()


class Pipeline:
    """Judges texts.

    Args:
        policy: returns what holds now; it is asked once for each text.
        key: returns 32 or 64 bytes, the tenant's, for masks that are the same in all its texts and, where a policy
            wants it, can be turned back; None where there is no key. It is asked for each text, so that it may change.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        policy: Callable[[], Policy],
        panel: Panel,
        *,
        key: Callable[[], bytes | None] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
        today: Callable[[], date] = utc_today,
    ) -> None:
        self._policy, self._panel = policy, panel
        self._key = key
        self._clock, self._today = clock, today

    async def input(
        self,
        text: str,
        agent: str = "",
        origin: Origin = Origin.USER,
        *,
        earlier: Sequence[str] = (),
        task: str = "",
    ) -> Verdict:
        """Judge a text that is to go to an agent.

        Args:
            text: what somebody wrote, or a tool or a page brought.
            agent: whose input it is; nobody's where it is empty.
            origin: who wrote it.
            earlier: the user's turns before it, oldest first, judged by then.
            task: what the agent's user asked for, where the text is a tool's or a page's.
        """
        began, policy = self._clock(), self._policy()
        rules = policy.input_for(agent)
        text, length = await self._panel.aside(text, partial(fit_input, text, rules.length))
        if not length.passed and length.action is not Action.TRUNCATE:
            return self._verdict(began, policy, [length])
        wanted = {
            CheckName.PROMPT_INJECTION: rules.prompt_injection.enabled,
            CheckName.TOXIC_CONTENT: rules.toxic_content.enabled,
            CheckName.PII_DETECTION: rules.pii_detection.enabled,
        }
        try:
            case = await self._case(policy, text, agent, origin, Direction.INPUT, wanted, task)
        except LayerUnavailable as error:
            return self._verdict(began, policy, [length, unavailable_check(CheckName.ENCODING, [error])])
        heard, document = await self._panel.hear(case), case.document
        injection = self._injection(case, heard, rules)
        if earlier and origin is Origin.USER and injection.passed and rules.prompt_injection.enabled:
            injection = await self._over_turns(policy, text, agent, earlier) or injection
        checks = [
            injection,
            pii_check(heard, rules.pii_detection),
            self._scored(CheckName.TOXIC_CONTENT, heard, rules.toxic_content),
            length,
            encoding_check(document, rules.encoding),
        ]
        checks = [check for check in checks if wanted.get(check.name, True)]
        hidden = masked_personal(checks, rules.pii_detection)

        def mask() -> View:
            cleaned = clean_view(document, rules.encoding)
            cleaned = mask_view(cleaned, withheld(checks, rules.foreign_instructions), Withholding())
            return mask_view(cleaned, hidden, self._masker(rules.pii_detection, text))

        cleaned = await self._panel.aside(text, mask)
        verdict = self._verdict(began, policy, checks, cleaned.text)
        if origin in FOREIGN and verdict.allowed:
            return replace(verdict, extra=mark_foreign(cleaned.text))
        return verdict

    async def output(self, text: str, agent: str = "") -> Verdict:
        """Judge a text that comes from an agent."""
        judged = await self._output(text, agent)
        if judged.cleaned is None:
            return judged.verdict([])
        cleaned, sink = judged.cleaned.text, judged.rules.sink.kind

        def fit() -> tuple[str, Check]:
            fitted, limit = fit_output(cleaned, judged.rules.token_limit)
            return encode(fitted, sink), limit

        shown, limit = await self._panel.aside(cleaned, fit)
        encoded = Check(CheckName.OUTPUT_ENCODING, passed=True, details=f"escaped for {sink}")
        return judged.verdict([limit, encoded], shown)

    async def window(self, before: str, text: str, agent: str = "", *, is_last: bool = False) -> Released:
        """Judge the next piece of an output that is still being written.

        Args:
            before: the end of what was released; what it says counts, and it is not released again.
            text: what is not released yet.
            agent: whose output it is.
            is_last: nothing comes after it.

        Raises:
            ValueError: the agent's sink escapes a text as a whole.
        """
        judged = await self._output(before + text, agent)
        sink = judged.rules.sink.kind
        if sink not in STREAMABLE:
            raise ValueError(f"text for {sink} is escaped as a whole")
        verdict = judged.verdict([])
        if judged.cleaned is None or not verdict.allowed:
            return Released(verdict, "", 0)
        spans = [finding.span for check in judged.checks for finding in check.findings]
        taken = boundary(text, len(before), spans, is_last=is_last)
        cleaned, begin = judged.cleaned, len(before)
        shown = await self._panel.aside(text, lambda: slice_of(cleaned, begin, begin + taken))
        return Released(verdict, encode(shown, sink), taken)

    def refused(self, check: Check) -> Verdict:
        """Return the verdict on a text that is refused before it is judged."""
        return self._verdict(self._clock(), self._policy(), [check])

    async def _output(self, text: str, agent: str) -> _JudgedOutput:
        began, policy = self._clock(), self._policy()
        rules = policy.output_for(agent)

        def verdict(checks: Iterable[Check], sanitized: str) -> Verdict:
            return self._verdict(began, policy, checks, sanitized)

        wanted = {
            CheckName.SAFE_CONTENT: rules.safe_content.enabled,
            CheckName.PII_DETECTION: rules.pii_detection.enabled,
            CheckName.SECRET_DETECTION: rules.secret_detection.enabled,
        }
        try:
            case = await self._case(policy, text, agent, Origin.AGENT, Direction.OUTPUT, wanted)
        except LayerUnavailable as error:
            return _JudgedOutput(rules, [unavailable_check(CheckName.ENCODING, [error])], None, verdict)
        heard = await self._panel.hear(case)
        checks = [
            self._scored(CheckName.SAFE_CONTENT, heard, rules.safe_content),
            pii_check(heard, rules.pii_detection),
            secret_check(heard, rules.secret_detection),
            encoding_check(case.document, rules.encoding),
        ]
        checks = [check for check in checks if wanted.get(check.name, True)]
        hidden = [
            *masked_personal(checks, rules.pii_detection),
            *masked_findings(checks, CheckName.SECRET_DETECTION, rules.secret_detection.action),
        ]
        cleaned = await self._panel.aside(
            text, lambda: mask_view(clean_view(case.document, rules.encoding), hidden, Redacting())
        )
        return _JudgedOutput(rules, checks, cleaned, verdict)

    async def _over_turns(
        self, policy: Policy, text: str, agent: str, earlier: Sequence[str]
    ) -> Check | None:
        """Return the failed check of prompt injection that a turn and those before it make together, or nothing.

        What the earlier turns say by themselves is no news: it was judged when it was said.
        """
        name, rules = CheckName.PROMPT_INJECTION, policy.input_for(agent).prompt_injection

        async def check(text: str) -> Check:
            case = await self._case(policy, text, agent, Origin.USER, Direction.INPUT, {name: True})
            return self._scored(name, await self._panel.hear(case), rules)

        try:
            joined = join_turns(earlier, text)
            if joined is None:
                return None
            found = await check(joined.text)
            if found.passed or not (found.unavailable or (await check(joined.tail)).passed):
                return None
        except VocabularyError as error:
            return unavailable_check(name, [LayerUnavailable(Layer.NORMALISE, str(error))])
        except LayerUnavailable as error:
            return unavailable_check(name, [error])
        return joined.told(found)

    async def _case(
        self,
        policy: Policy,
        text: str,
        agent: str,
        origin: Origin,
        direction: Direction,
        wanted: Mapping[CheckName, bool],
        task: str = "",
    ) -> Case:
        checks = frozenset(check for check, is_wanted in wanted.items() if is_wanted)
        today = self._today()
        allowances = [each for check in checks for each in policy.allowances(check, agent, today)]
        variants = {}
        for check in checks:
            literals = [
                each.text for each in allowances if each.check is check and each.text and each.text in text
            ]
            if literals:
                variants[check] = await self._panel.read(without(text, literals), origin)
        return Case(
            document=await self._panel.read(text, origin),
            direction=direction,
            checks=checks,
            layers=policy.layers,
            exempt=frozenset(each.rule for each in allowances if each.rule),
            purpose=policy.purpose_of(agent),
            task=task,
            variants=variants,
        )

    def _injection(self, case: Case, heard: Outcomes, rules: InputPolicy) -> Check:
        name = CheckName.PROMPT_INJECTION
        weighed = weigh(heard.get(name, []), case.document)
        check = self._scored(name, {name: weighed.outcomes}, rules.prompt_injection, weighed.factor)
        if weighed.intent is None:
            return check
        return with_intent(check, weighed.intent, rules.prompt_injection, rules.foreign_instructions)

    def _scored(self, name: CheckName, heard: Outcomes, policy: Judged, factor: float = 1.0) -> Check:
        parts, outcomes = self._panel.parts, heard.get(name, [])
        classifier = parts.injection if name is CheckName.PROMPT_INJECTION else parts.toxicity
        thresholds = {
            Layer.PATTERNS: PATTERN_THRESHOLD,
            Layer.CLASSIFIER: classifier.threshold if classifier else 1.0,
            Layer.JUDGE: JUDGE_THRESHOLD,
        }
        if parts.fusion is not None:
            # Output is looked through for the same as input.
            subject = CheckName.TOXIC_CONTENT if name is CheckName.SAFE_CONTENT else name
            joined = join(outcomes, subject, parts.fusion, thresholds[Layer.CLASSIFIER])
            if len(joined) < len(outcomes):
                thresholds[Layer.PATTERNS] = thresholds[Layer.CLASSIFIER] = parts.fusion.threshold(subject)
            outcomes = joined
        return scored_check(name, outcomes, thresholds, policy, factor=factor)

    def _masker(self, policy: Pii, text: str) -> Masker:
        key = self._key()
        if key is not None:
            return Sealing(key) if policy.reversible else Tagging(key)
        numbering = Numbering()
        numbering.reserve(text)
        return numbering

    def _verdict(
        self,
        began: float,
        policy: Policy,
        checks: Iterable[Check],
        sanitized: str = "",
    ) -> Verdict:
        return Verdict(
            checks=tuple(checks),
            latency_ms=(self._clock() - began) * 1_000,
            sanitized=sanitized,
            policy=policy.digest,
            missing_layers=policy.left_out,
        )


def fit_input(text: str, policy: Length) -> tuple[str, Check]:
    """Return the text as long as it may be, and the check of its length."""
    try:
        if not exceeds(text, policy.max_tokens):
            return text, length_check(CheckName.LENGTH, policy, is_long=False)
        if policy.action is Action.TRUNCATE:
            text = truncate(text, policy.max_tokens, count_tokens).text
    except VocabularyError as error:
        missing = LayerUnavailable(Layer.NORMALISE, str(error))
        return text, unavailable_check(CheckName.LENGTH, [missing])
    return text, length_check(CheckName.LENGTH, policy, is_long=True)


def fit_output(text: str, policy: Length) -> tuple[str, Check]:
    """Return an output as long as it may be, and the check of its length."""
    fitted, check = fit_input(text, policy)
    return fitted, Check(CheckName.TOKEN_LIMIT, check.passed, action=check.action, reason=check.reason,
                         details=check.details, unavailable=check.unavailable)  # fmt: skip


def encoding_check(document: Document, policy: Encoding) -> Check:
    """Return the check of characters that hide or imitate."""
    found = document.removed if policy.enabled else ()
    return found_check(CheckName.ENCODING, found, policy.action, Reason.ENCODING, Layer.NORMALISE)


def pii_check(heard: Outcomes, policy: Pii) -> Check:
    """Return the check of personal data."""
    outcomes = heard.get(CheckName.PII_DETECTION, [])
    missing = _missing(outcomes)
    found = select_pii(
        (finding for each in outcomes if isinstance(each, Signal) for finding in each.findings), policy
    )
    if missing:
        return unavailable_check(CheckName.PII_DETECTION, missing, found)
    action = policy.action if any(policy.acts_on(finding.kind) for finding in found) else Action.FLAG
    return found_check(CheckName.PII_DETECTION, found, action, Reason.PII)


def secret_check(heard: Outcomes, policy: Secrets) -> Check:
    """Return the check of keys and tokens."""
    outcomes = heard.get(CheckName.SECRET_DETECTION, [])
    missing = _missing(outcomes)
    found = tuple(finding for each in outcomes if isinstance(each, Signal) for finding in each.findings)
    if missing:
        return unavailable_check(CheckName.SECRET_DETECTION, missing, found)
    return found_check(CheckName.SECRET_DETECTION, found, policy.action, Reason.SECRET)


def clean_view(document: Document, policy: Encoding) -> View:
    """Return the text without dangerous characters, where the policy takes them out."""
    if policy.enabled and policy.action is Action.MASK:
        return View.whole("cleaned", document.text).edited("cleaned", document.edits)
    # Half a surrogate pair is no character, and no answer can hold one.
    return View.whole("cleaned", _SURROGATE.sub(REPLACEMENT, document.text))


def without(text: str, literals: Iterable[str]) -> str:
    """Return a text with some literals blanked; its length, and so every offset, stays."""
    for literal in literals:
        text = text.replace(literal, " " * len(literal))
    return text


def _missing(outcomes: Iterable[Outcome]) -> list[LayerUnavailable]:
    return [outcome for outcome in outcomes if isinstance(outcome, LayerUnavailable)]


def masked_personal(checks: Iterable[Check], policy: Pii) -> tuple[Finding, ...]:
    """Return the personal data that is to be masked."""
    found = masked_findings(checks, CheckName.PII_DETECTION, policy.action)
    return tuple(finding for finding in found if policy.acts_on(finding.kind))


def masked_findings(checks: Iterable[Check], name: CheckName, action: Action) -> tuple[Finding, ...]:
    """Return what a check found, where it is to be masked."""
    if action is not Action.MASK:
        return ()
    return next((check.findings for check in checks if check.name is name), ())
