"""The verdict for people and for programs, and what no program that asks a Vault can attest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

from mutx_vault_verify.check import Check, Status
from mutx_vault_verify.document import shown
from mutx_vault_verify.survey import Survey

CANNOT_ATTEST = (
    "that the server is the published program: who had, or has, root on its host can make it say anything and read all",
    "that the keys of its authorities (pki, pki-machines, ssh) were made inside and exist nowhere else",
    "that the key behind its seal is yours: look for its use in your own Vault's, or your KMS key's, log",
    "that the hand-over file is the platform's: compare the SHA-256 above with what you were told by another way",
    "batch tokens, which no Vault lists: no role of the release gives one",
    "the other nodes' configuration files: ask each by --address",
    "anything before or after this moment: run it again",
)
_FAILING_FIRST = ("differs", "extra", "missing", "unknown", "unseen", "accepted", "ok")


def as_table(found: Survey, facts: Mapping[str, str], *, is_verbose: bool = True) -> str:
    """Return the verdict for people: every check, those that fail first, and what it does not say.

    What was not looked at is said even where only what fails is asked for.
    """
    width = max((len(check.name) for check in found.checks), default=0)
    listed = sorted(found.checks, key=lambda check: (_FAILING_FIRST.index(check.status), check.name))
    rows = [
        _row(check, width)
        for check in listed
        if is_verbose or not check.is_good or check.status is Status.UNSEEN
    ]
    head = [f"{name:<20}{shown(value)}" for name, value in facts.items()]
    limits = ["What this does not attest:", *(f"  - {limit}" for limit in CANNOT_ATTEST)]
    return "\n".join([*head, "", *rows, "", *limits, "", verdict(found)]) + "\n"


def as_json(found: Survey, facts: Mapping[str, str]) -> str:
    """Return the verdict for programs: versioned, sorted, stable."""
    document = {
        "version": 1,
        "kind": "vault-verification",
        "facts": dict(facts),
        "state": found.state,
        "is_as_released": found.is_good,
        "checks": [{"name": c.name, "status": c.status, "detail": c.detail} for c in _sorted(found)],
        "not_attested": list(CANNOT_ATTEST),
    }
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def verdict(found: Survey) -> str:
    """Return the verdict in one line."""
    counts = Counter(check.status for check in found.checks)
    said = ", ".join(f"{counts[status]} {status}" for status in counts)
    if found.is_good:
        limit = ", as far as its server shows" if counts[Status.UNSEEN] else ""
        return f"The Vault is as the release says{limit} ({said})."
    return f"The Vault is NOT as the release says ({said})."


def _sorted(found: Survey) -> list[Check]:
    return sorted(found.checks, key=lambda check: (check.name, check.status, check.detail))


def _row(check: Check, width: int) -> str:
    return f"{check.status:<9} {check.name:<{width}}  {check.detail}".rstrip()
