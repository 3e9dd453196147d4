"""The policies of a live Vault against those that this release renders: compared, and put in force by the tenant."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from mutx_infra.errors import RefusedError
from mutx_infra.vault.lints import lint_policies
from mutx_infra.vault.readback import live_policies
from mutx_infra.vault_ports import VaultSession


@dataclass(frozen=True, slots=True)
class PolicyDifference:
    """A policy that is not as this release renders it.

    Attributes:
        wanted: its text by this release; None where it has no such policy.
        found: its text in the Vault; None where it has none.
    """

    name: str
    wanted: str | None
    found: str | None

    def lines(self) -> list[str]:
        """Return the difference as `diff -u` shows it: from what is in force to what this release has."""
        return list(
            difflib.unified_diff(
                (self.found or "").splitlines(),
                (self.wanted or "").splitlines(),
                f"in force: {self.name}",
                f"this release: {self.name}",
                lineterm="",
            )
        )


def differences(session: VaultSession, wanted: Mapping[str, str]) -> tuple[PolicyDifference, ...]:
    """Return every policy that differs, is missing, or is none of this release's, by name."""
    found = live_policies(session)
    return tuple(
        PolicyDifference(name, wanted.get(name), found.get(name))
        for name in sorted({*found, *wanted})
        if wanted.get(name) != found.get(name)
    )


def apply_policies(session: VaultSession, wanted: Mapping[str, str]) -> tuple[str, ...]:
    """Put this release's policies in force, and return the names of those that were written.

    What is none of this release's stays: it is the tenant's own.

    Raises:
        RefusedError: one of them says what no policy must (code `policy-lint`); nothing was written.
    """
    lints = lint_policies(wanted)
    if lints:
        raise RefusedError(
            f"the policy {lints[0].policy} must not say this: {lints[0].rule} at {lints[0].path or 'all of it'}",
            code="policy-lint",
            remedy="this release is damaged: install it anew",
            detail="\n".join(f"{each.policy}: {each.rule} at {each.path}: {each.why}" for each in lints),
        )
    live = live_policies(session)
    changed = tuple(name for name, text in wanted.items() if live.get(name) != text)
    for name in changed:
        session.write(f"sys/policies/acl/{name}", {"policy": wanted[name]})
    return changed
