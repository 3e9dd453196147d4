"""What pydantic finds wrong with a spec, in the operator's words: reasons and remedies, as tables."""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from mutx_infra.adapters.yaml_source import Location, YamlSource
from mutx_infra.byok import AwsKmsSeal, Byok, StaticSeal, TransitSeal
from mutx_infra.errors import SpecError
from mutx_infra.guardrail import Family, Guardrail, Judge, Waiver
from mutx_infra.tenant import MAX_TAGS, Archive, Contact, ContactRole, TenantSpec, Tier

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        field: as the operator knows it, e.g. `contacts[0].email`.
    """

    field: str
    reason: str
    line: int
    place: str
    code: str
    remedy: str

    def __str__(self) -> str:
        return f"`{self.field}` {self.reason}"


def translate(source: YamlSource, exc: ValidationError) -> SpecError:
    """Return one error for all that is wrong: the first as its message, the others in its detail."""
    problems = (_problem(source, error) for error in exc.errors(include_url=False))
    first, *others = sorted(problems, key=lambda problem: problem.line)
    more = [f"also {other}, line {other.line} ({other.remedy})" for other in others]
    return SpecError(str(first), code=first.code, detail="\n".join([first.place, *more]), remedy=first.remedy)


def _problem(source: YamlSource, error: ErrorDetails) -> Problem:
    location = _location(error["loc"])
    names = [part for part in location if isinstance(part, str)] or ["spec"]
    kind = "tags" if names[0] == "tags" else ".".join(names)
    say = _REASONS.get(error["type"], _as_it_is)
    code = "-".join(["spec", *kind.split("."), error["type"]]).replace("_", "-")
    return Problem(
        field=_shown_field(location),
        reason=say(error, _NOUNS.get(kind, "valid")),
        line=source.line_of(location),
        place=source.where(location),
        code="spec-unknown-field" if error["type"] == "extra_forbidden" else code,
        remedy=_remedy(kind, error),
    )


def _location(loc: tuple[str | int, ...]) -> Location:
    """Return where it stands in the file: pydantic adds a mark to keys, and a seal's type to what is in the seal."""
    if loc[:2] == ("byok", "seal"):
        return (*loc[:2], *loc[3:])
    return tuple(part for part in loc if part != "[key]")


def _shown_field(location: Location) -> str:
    """Return e.g. `contacts[0].email`; the whole file is `spec`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return _short(text.removeprefix(".")) or "spec"


_Reason = Callable[["ErrorDetails", str], str]


def _limit(error: ErrorDetails, name: str) -> object:
    return error.get("ctx", {}).get(name)


_REASONS: dict[str, _Reason] = {
    "missing": lambda _e, _noun: "is missing",
    "extra_forbidden": lambda e, _noun: f"is not a field of {_owner(e['loc'])[0]}",
    "string_pattern_mismatch": lambda e, noun: f"is {_quoted(e['input'])}, which is not {noun}",
    "string_type": lambda e, _noun: f"is {_kind(e['input'])}, text is expected",
    "string_too_short": lambda e, _noun: f"has fewer than {_limit(e, 'min_length')} character(s)",
    "string_too_long": lambda e, _noun: f"has more than {_limit(e, 'max_length')} characters",
    "literal_error": lambda e, _noun: f"is {_quoted(e['input'])}, expected is {_limit(e, 'expected')}",
    "union_tag_not_found": lambda _e, _noun: "has no `type`",
    "union_tag_invalid": lambda e, _noun: (
        f"has the type {_quoted(_limit(e, 'tag'))}, expected is one of {_limit(e, 'expected_tags')}"
    ),
    "model_attributes_type": lambda e, _noun: f"is {_kind(e['input'])}, a mapping is expected",
    "enum": lambda e, _noun: f"is {_quoted(e['input'])}, expected is {_limit(e, 'expected')}",
    "tuple_type": lambda e, _noun: f"is {_kind(e['input'])}, a list is expected",
    "dict_type": lambda e, _noun: f"is {_kind(e['input'])}, a mapping is expected",
    "model_type": lambda e, _noun: f"is {_kind(e['input'])}, a mapping is expected",
    "too_short": lambda _e, _noun: "is an empty list",
    "too_long": lambda e, _noun: f"has more than {_limit(e, 'max_length')} entries",
}


def _as_it_is(error: ErrorDetails, _noun: str) -> str:
    return f"is not usable: {_plain(error['msg'])}"


_NOUNS = {
    "id": "a tenant id",
    "region": "an AWS region",
    "account": "an AWS account number",
    "archive.account": "an AWS account number",
    "zones": "the name of an availability zone",
    "cidr": "an IPv4 block",
    "contacts.email": "an e-mail address",
    "administrators": "an e-mail address",
    "clients": "an e-mail address",
    "byok.seal.address": "the https:// address of a Vault",
    "byok.seal.mount": "the path of a transit engine",
    "byok.seal.key": "the name of a key",
    "byok.seal.key_arn": "the ARN of a KMS key",
    "guardrail.tunnels": "a host name",
    "guardrail.judge.url": "an address on the guard itself",
    "guardrail.judge.model": "the name of a model",
    "guardrail.without_judge.expires": "a day",
}


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")


def _quoted(value: object) -> str:
    return _short(json.dumps(value, ensure_ascii=False))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


def _kind(value: object) -> str:
    """Name a value's YAML type as a person would."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return "text" if isinstance(value, str) else "a list" if isinstance(value, list) else "a mapping"


_Remedy = Callable[[object], str]


def _remedy(kind: str, error: ErrorDetails) -> str:
    """Return the most specific remedy: for this field and error, for the error, for the field."""
    by_error = _BY_ERROR.get(error["type"])
    if by_error is not None:
        return by_error(error["loc"])
    return _BY_FIELD.get(kind, _see_schema)(error["input"])


def _see_schema(_given: object) -> str:
    return "`mutx-infra spec schema` says what is allowed"


def _unknown_field(location: object) -> str:
    assert isinstance(location, tuple)  # noqa: S101 - pydantic's `loc`
    return _did_you_mean(str(location[-1]), _owner(location)[1].model_fields)


def _owner(location: Location) -> tuple[str, type[BaseModel]]:
    """Return what a field stands in: in words, and its model."""
    if len(location) == 1:
        return "a tenant spec", TenantSpec
    if location[:2] == ("byok", "seal"):
        return f"a seal of type {location[2]}", _SEALS[str(location[2])]
    nested = _OWNERS.get(".".join(map(str, location[:2])))
    return nested or _OWNERS[str(location[0])]


_OWNERS: dict[str, tuple[str, type[BaseModel]]] = {
    "archive": ("the archive", Archive),
    "byok": ("what the tenant brings", Byok),
    "contacts": ("a contact", Contact),
    "guardrail": ("the guardrail", Guardrail),
    "guardrail.judge": ("the judge", Judge),
    "guardrail.without_judge": ("the waiver of a judge", Waiver),
}
_SEALS: dict[str, type[BaseModel]] = {"transit": TransitSeal, "awskms": AwsKmsSeal, "static": StaticSeal}


def _did_you_mean(given: str, known: object) -> str:
    names = [str(name) for name in known]  # type: ignore[attr-defined]
    close = difflib.get_close_matches(given.lower(), names, n=1)
    return f"did you mean `{close[0]}`?" if close else f"use one of {', '.join(names)}"


_ASCII = str.maketrans({"ß": "ss", "æ": "ae", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "þ": "th", "œ": "oe"})
"""Letters that Unicode does not decompose into a base letter and a mark."""


def slug(text: str) -> str:
    """Return the tenant id nearest to a name, or an empty text: `Zürich GmbH` gives `zurich-gmbh`."""
    plain = unicodedata.normalize("NFKD", text.lower().translate(_ASCII)).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    name = words if not words[:1].isdigit() else f"t-{words}"
    return name[:63].rstrip("-") if len(name) > 1 else ""


def _id_remedy(given: object) -> str:
    rule = "an id has 2 to 63 lower-case letters, digits and single dashes, and starts with a letter"
    suggestion = slug(given) if isinstance(given, str) else ""
    return f"{rule}: write `id: {suggestion}`, and the full name in `name:`" if suggestion else rule


def _region_remedy(given: object) -> str:
    found = re.fullmatch(r"([a-z]{2}(?:-[a-z]+)+-[1-9])[a-z]", given) if isinstance(given, str) else None
    if found:
        return f"that is a zone: write `region: {found[1]}`, and the zone in `zones:`"
    return "write an AWS region, such as eu-west-1"


def _account_remedy(given: object) -> str:
    digits = re.sub(r"[\s-]", "", str(given))
    shown = digits if re.fullmatch(r"[0-9]{12}", digits) else "123456789012"
    return f'write the twelve digits in quotes: `account: "{shown}"`'


def _cidr_remedy(given: object) -> str:
    otherwise = "or leave `cidr:` out and a free block is allocated"
    try:
        interface = IPv4Interface(given if isinstance(given, str) else "")
    except ValueError:
        return f"write a private IPv4 block, such as 10.0.1.0/24, {otherwise}"
    if interface.ip != interface.network.network_address:
        return f"write `cidr: {interface.network}`, {otherwise}"
    return f"write a private block between /16 and /25, such as 10.0.1.0/24, {otherwise}"


_BY_ERROR: dict[str, _Remedy] = {
    "extra_forbidden": _unknown_field,
    "missing": lambda loc: (
        f"add `{loc[-1] if isinstance(loc, tuple) else ''}:`; `mutx-infra spec init` shows how"
    ),
}

_BY_FIELD: dict[str, _Remedy] = {
    "id": _id_remedy,
    "region": _region_remedy,
    "tier": lambda given: _did_you_mean(str(given), Tier),
    "name": lambda _: "write 1 to 120 visible characters, in any script, or leave `name:` out",
    "account": _account_remedy,
    "archive": lambda _: (
        "leave `archive:` out of a tenant's spec; in the platform's write `archive: {account: \"123456789012\"}`"
    ),
    "archive.account": _account_remedy,
    "zones": lambda _: (
        "list up to 4 zones of the region, as `zones: [eu-west-1a, eu-west-1b]`, or leave it out"
    ),
    "cidr": _cidr_remedy,
    "tags": lambda _: (
        f"write up to {MAX_TAGS} pairs of text in quotes: letters, digits, spaces and _.:/=+-@;"
        " names with mutx: or aws: and `Name` are taken"
    ),
    "administrators": lambda _: (
        "list the addresses that people log in with, each once, as `[ann@example.com]`"
    ),
    "clients": lambda _: "list the addresses that people log in with, each once, as `[bob@example.com]`",
    "contacts": lambda _: "write a list with `email:` in each entry, and `role:` and `name:` where you like",
    "contacts.email": lambda _: "write an address such as ops@example.com",
    "contacts.role": lambda given: _did_you_mean(str(given), ContactRole),
    "byok": lambda _: (
        "write `admin_ca:` and `seal:` below it, or leave it out: the tenant then has no Vault yet"
    ),
    "byok.admin_ca": lambda _: (
        "write `admin_ca: |` and below it, indented, the certificate of the authority of the tenant's administrators"
    ),
    "byok.seal": lambda _: (
        "write `type: transit` with `address:` and `key:`, `type: awskms` with `key_arn:`, or for trials `type: static`"
    ),
    "byok.seal.address": lambda _: (
        "write where the tenant's own Vault is, such as https://vault.acme.example:8200"
    ),
    "byok.seal.mount": lambda _: "write the engine's path, such as transit, or leave `mount:` out",
    "byok.seal.key": lambda _: "write the key's name in the tenant's transit engine",
    "byok.seal.key_arn": lambda _: (
        "write the ARN of the tenant's key, such as arn:aws:kms:eu-west-1:310987654321:key/1234abcd-…"
    ),
    "guardrail": lambda _: (
        "write `providers:` or `tunnels:` below it, or leave it out: agents then go nowhere"
    ),
    "guardrail.providers": lambda _: "list whom agents call, each once, as `[anthropic, openai]`",
    "guardrail.tunnels": lambda _: (
        "list host names, each once, as `[api.openai.com]`; what goes there is not judged"
    ),
    "guardrail.judge": lambda _: "write `url:`, `model:` and `family:` below it, or leave it out",
    "guardrail.judge.url": lambda _: "write where it serves on the guard, such as http://127.0.0.1:8000/v1",
    "guardrail.judge.model": lambda _: (
        "write the model as its server names it, such as Qwen/Qwen3Guard-Gen-4B"
    ),
    "guardrail.judge.family": lambda given: _did_you_mean(str(given), Family),
    "guardrail.without_judge": lambda _: "write `owner:`, `reason:` and `expires:` below it, or leave it out",
    "guardrail.without_judge.owner": lambda _: "write who answers for it, such as ann@example.com",
    "guardrail.without_judge.reason": lambda _: "write why it is borne, in 10 to 500 characters",
    "guardrail.without_judge.expires": lambda _: 'write the last day in quotes, as `expires: "2027-03-31"`',
    "contacts.name": lambda _: "write 1 to 120 visible characters, in any script, or leave `name:` out",
}
