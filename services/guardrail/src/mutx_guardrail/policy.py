"""The policy as data: what is checked for which agent, how strictly, and what follows.

A policy is one YAML or JSON document. It can loosen a threshold; it cannot let a text pass that no layer judged.
docs/reference/guardrail.md is made from these models.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Hashable, Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from mutx_guardrail.pii.kinds import ALIASES, Kind
from mutx_guardrail.verdict import Action, CheckName, Layer

LARGEST_FILE_BYTES = 1 << 20


class PolicyError(Exception):
    """The policy cannot be used as written.

    Args:
        where: the place within the document, as `agents.research.input.pii_detection.action`.
    """

    code = "policy-invalid"

    def __init__(self, where: str, what: str, remedy: str) -> None:
        super().__init__(f"{where}: {what}" if where else what)
        self.where, self.what, self.remedy = where, what, remedy


class _NameTwice(yaml.constructor.ConstructorError):
    """A name stands twice in one mapping; YAML's readers differ about which of the two counts."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which takes the last of several equal names, but for those."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return a mapping."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(names)) < len(names):
            raise _NameTwice(problem="holds a name twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _one_of(*actions: Action) -> AfterValidator:
    def check(value: Action) -> Action:
        if value not in actions:
            wanted = ", ".join(action.value for action in actions)
            raise ValueError(f"is {value.value}, and can be {wanted}")
        return value

    return AfterValidator(check)


def _known_kind(name: str) -> str:
    if name not in KINDS and name not in ALIASES:
        raise ValueError(f"{name} is no kind of personal data; there are {', '.join(sorted(KINDS))}")
    return name


KINDS = frozenset(kind.value for kind in Kind)
Score = Annotated[float, Field(ge=0, le=1)]
BlockOrFlag = Annotated[Action, _one_of(Action.BLOCK, Action.FLAG)]
MaskBlockOrFlag = Annotated[Action, _one_of(Action.MASK, Action.BLOCK, Action.FLAG)]
TruncateOrBlock = Annotated[Action, _one_of(Action.TRUNCATE, Action.BLOCK)]


class Judged(_Model):
    """A check by a score. `threshold` empty takes the layer's own, fixed on its validation sources."""

    enabled: bool = True
    action: BlockOrFlag = Action.BLOCK
    threshold: Score | None = None


class Pii(_Model):
    """Personal data.

    With no `kinds` named the usual ones are looked for, and places are told without being acted on: without them
    many a question makes no sense. With the tenant's key a mask is the same in all its texts (`<PERSON_7f3a91c2>`);
    without one masks are numbered in each text (`<PERSON_1>`). `reversible` masks carry a token that the key alone
    turns back. In outputs `[REDACTED]` stands for everything.
    """

    enabled: bool = True
    action: MaskBlockOrFlag = Action.MASK
    kinds: tuple[Annotated[str, AfterValidator(_known_kind)], ...] = ()
    threshold: Score = 0.5
    reversible: bool = False

    def acts_on(self, kind: str) -> bool:
        """Say whether a finding of this kind is masked or blocked, and not only told."""
        return bool(self.kinds) or kind != Kind.LOCATION


class Secrets(_Model):
    """Keys and tokens of known forms."""

    enabled: bool = True
    action: MaskBlockOrFlag = Action.MASK


class Length(_Model):
    """How long a text may be, in tokens (cl100k_base)."""

    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 8_192
    action: TruncateOrBlock = Action.BLOCK


class Encoding(_Model):
    """Characters that are not seen or that look like others: taken out, or the text refused."""

    enabled: bool = True
    action: MaskBlockOrFlag = Action.MASK


class Foreign(_Model):
    """Instructions in a tool's or a page's text that the agent was not given, by likelihood.

    From `mask_from` on the sentence is replaced by `[WITHHELD]`, from `block_from` on the text is refused. `action` is
    the most that follows: `mask` refuses nothing, `flag` changes nothing. It holds within `prompt_injection`, and where
    that only flags, this does.
    """

    action: MaskBlockOrFlag = Action.BLOCK
    mask_from: Annotated[float, Field(gt=0, lt=1)] = 0.5
    block_from: Annotated[float, Field(gt=0, le=1)] = 0.9

    @model_validator(mode="after")
    def _is_in_order(self) -> Foreign:
        if self.mask_from > self.block_from:
            raise ValueError("`mask_from` is above `block_from`")
        return self


class Sink(_Model):
    """Where the output goes, and so how it is escaped; `text` escapes nothing."""

    kind: Literal["text", "html", "markdown", "sql", "shell", "json", "csv"] = "text"


class InputPolicy(_Model):
    """What is checked of a text that goes to an agent."""

    prompt_injection: Judged = Judged()
    foreign_instructions: Foreign = Foreign()
    pii_detection: Pii = Pii()
    toxic_content: Judged = Judged()
    length: Length = Length()
    encoding: Encoding = Encoding()


class OutputPolicy(_Model):
    """What is checked of a text that comes from an agent."""

    pii_detection: Pii = Pii()
    encoding: Encoding = Encoding()
    safe_content: Judged = Judged()
    secret_detection: Secrets = Secrets()
    token_limit: Length = Length(max_tokens=4_096, action=Action.TRUNCATE)
    sink: Sink = Sink()


class Anomaly(_Model):
    """An agent's behaviour over time (GUARD-4)."""

    requests: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    window_s: Annotated[int, Field(ge=1, le=86_400)] = 60
    output_factor: Annotated[float, Field(gt=1, le=1_000)] = 10.0
    output_warm_up: Annotated[int, Field(ge=2, le=1_000)] = 20
    error_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.5
    error_window_s: Annotated[int, Field(ge=1, le=86_400)] = 300
    error_minimum: Annotated[int, Field(ge=1, le=100_000)] = 20
    pause_s: Annotated[int, Field(ge=1, le=86_400)] = 300
    drift_threshold: Score = 0.65


class Agent(_Model):
    """What differs for one agent. Instructions in retrieved text are held against its `purpose`."""

    purpose: Annotated[str, Field(max_length=4_000)] = ""
    input: InputPolicy | None = None
    output: OutputPolicy | None = None
    anomaly: Anomaly | None = None


class Allowance(_Model):
    """An exception, with somebody who answers for it and an end.

    `rule` names a rule of the pattern pack that is not counted; `text` a literal that is not looked at by `check`.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    check: CheckName
    rule: str = ""
    text: Annotated[str, Field(max_length=4_000)] = ""
    agents: tuple[str, ...] = ()
    owner: Annotated[str, Field(min_length=3, max_length=200)]
    reason: Annotated[str, Field(min_length=10, max_length=500)]
    expires: date


ORDINARY_LAYERS = (Layer.NORMALISE, Layer.PATTERNS, Layer.INTENT, Layer.CLASSIFIER, Layer.NAMES)
EVERY_LAYER = (*ORDINARY_LAYERS, Layer.JUDGE)


class Policy(_Model):
    """The whole policy of a tenant's guardrail.

    `layers` are those that judge, and each of them has to: where one cannot, nothing passes. One that is left out is
    told in every verdict. A production profile leaves none out (GUARD-6).
    """

    version: Literal[1] = 1
    revision: Annotated[str, Field(max_length=64)] = "built-in"
    profile: Literal["production", "without-judge"] = "without-judge"
    layers: tuple[Layer, ...] = ORDINARY_LAYERS
    input: InputPolicy = InputPolicy()
    output: OutputPolicy = OutputPolicy()
    anomaly: Anomaly = Anomaly()
    agents: Mapping[str, Agent] = Field(default_factory=dict)
    allow: tuple[Allowance, ...] = ()
    log_text: bool = False

    @model_validator(mode="after")
    def _has_its_layers(self) -> Policy:
        unknown = set(self.layers) - set(EVERY_LAYER)
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))} cannot be chosen among `layers`")
        wanted = EVERY_LAYER if self.profile == "production" else (Layer.NORMALISE, Layer.PATTERNS)
        missing = [layer.value for layer in wanted if layer not in self.layers]
        if missing:
            raise ValueError(f"profile {self.profile} needs {', '.join(missing)} among `layers`")
        return self

    @property
    def left_out(self) -> tuple[Layer, ...]:
        """The layers that do not judge here, cheapest first."""
        return tuple(layer for layer in EVERY_LAYER if layer not in self.layers)

    @cached_property
    def digest(self) -> str:
        """What every verdict names: the revision, and the first 12 hex digits of the SHA-256 of the whole."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return f"{self.revision}@{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"

    def input_for(self, agent: str) -> InputPolicy:
        """Return what holds for texts to an agent; one that is not named has the tenant's."""
        own = self.agents.get(agent)
        return own.input if own and own.input else self.input

    def output_for(self, agent: str) -> OutputPolicy:
        """Return what holds for texts from an agent."""
        own = self.agents.get(agent)
        return own.output if own and own.output else self.output

    def anomaly_for(self, agent: str) -> Anomaly:
        """Return what is normal for an agent."""
        own = self.agents.get(agent)
        return own.anomaly if own and own.anomaly else self.anomaly

    def purpose_of(self, agent: str) -> str:
        """Return what an agent is there for; empty where it is not declared."""
        own = self.agents.get(agent)
        return own.purpose if own else ""

    def allowances(self, check: CheckName, agent: str, today: date) -> tuple[Allowance, ...]:
        """Return the exceptions that hold today; one holds to the end of its day of expiry."""
        return tuple(
            each
            for each in self.allow
            if each.check is check and today <= each.expires and (not each.agents or agent in each.agents)
        )


def parse_policy(text: str, name: str = "policy") -> Policy:
    """Return the policy of a YAML or JSON document.

    Raises:
        PolicyError: the first thing wrong, and where.
    """
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 - it is PyYAML's safe one
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = error.problem if isinstance(error, _NameTwice) and error.problem else "is no YAML"
        raise PolicyError(f"{name}{line}", what, "mend the document's form") from None
    except (ValueError, RecursionError):
        # A date that no calendar has, or brackets without an end.
        raise PolicyError(
            name, "is no YAML that can be read", "mend its dates, and how deep it is nested"
        ) from None
    if not isinstance(document, dict):
        raise PolicyError(name, "is no mapping", "begin with `version: 1`")
    try:
        return Policy.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PolicyError(
            f"{name}: {where}" if where else name, first["msg"], "see docs/reference/guardrail.md"
        ) from None


def read_policy(path: Path) -> Policy:
    """Return the policy of a file.

    Raises:
        PolicyError: the file cannot be read, is larger than a megabyte, or is not valid.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            # To open a pipe would wait until somebody writes to it.
            raise PolicyError(str(path), "is no file", "name a file")
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise PolicyError(str(path), f"cannot be read ({error.strerror})", "name a file that can") from None
    except UnicodeDecodeError:
        raise PolicyError(str(path), "is not UTF-8", "save it as UTF-8") from None
    if len(content) > LARGEST_FILE_BYTES:
        raise PolicyError(str(path), "is larger than a megabyte", "leave texts out of the policy")
    return parse_policy(text, str(path))
