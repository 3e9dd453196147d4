"""What the whole Vault is set to: engines, ways to log in, policies, and all that must be as the server came."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from mutx_vault_verify.check import Check, extra, judged, missing, ok
from mutx_vault_verify.checks.compare import attempt, each_of
from mutx_vault_verify.document import mapping, text
from mutx_vault_verify.expectation import Expectation
from mutx_vault_verify.matching import differences
from mutx_vault_verify.vault import Source

_OF_A_POLICY = {"name", "policy", "version", "modified"}


def check_engines(source: Source, want: Expectation) -> Iterator[Check]:
    """Compare engines and ways to log in, with how each is tuned."""
    for kind, path, part in (("engine", "sys/mounts", "mounts"), ("login method", "sys/auth", "auth")):
        found = mapping(source.get(path), path)
        yield from each_of(kind, want.filled(want.manifest[part]), found)


def check_policies(source: Source, want: Expectation) -> Iterator[Check]:
    """Compare the exact text of each policy, and that it may say no more than policies usually may."""
    expected = want.manifest["policies"]
    found = {*source.names("sys/policies/acl"), *want.manifest["unlisted_policies"]}
    for name in sorted(found - expected.keys()):
        yield extra(f"policy {name}")
    for name in sorted(expected):
        answer = source.get(f"sys/policies/acl/{name}") if name in found else None
        if answer is None:
            yield missing(f"policy {name}")
            continue
        digest = hashlib.sha256(text(answer, "policy").encode()).hexdigest()
        said = [] if digest == expected[name] else [f"its text has SHA-256 {digest}, not {expected[name]}"]
        rest = {field: value for field, value in answer.items() if field not in _OF_A_POLICY}
        yield judged(f"policy {name}", [*said, *differences(want.manifest["policy_fields"], rest)], digest)


def check_reads(source: Source, want: Expectation) -> Iterator[Check]:
    """Compare every answer that the manifest has whole."""
    for path, expected in sorted(want.filled(want.manifest["reads"]).items()):
        yield from attempt(f"setting {path}", lambda p=path, e=expected: [_read(source, p, e)])  # type: ignore[misc]


def check_lists(source: Source, want: Expectation) -> Iterator[Check]:
    """Compare every list that is the same in all Vaults: most are empty."""
    for path, expected in sorted(want.manifest["lists"].items()):
        yield from attempt(f"list {path}", lambda p=path, e=expected: _list(source, p, e))  # type: ignore[misc]


def _read(source: Source, path: str, expected: object) -> Check:
    found = source.get(path)
    return (
        missing(f"setting {path}")
        if found is None
        else judged(f"setting {path}", differences(expected, found))
    )


def _list(source: Source, path: str, expected: list[str]) -> Iterator[Check]:
    optional = {name[1:] for name in expected if name.startswith("?")}
    wanted = {name for name in expected if not name.startswith("?")}
    found = set(source.names(path))
    for name in sorted(found - wanted - optional):
        yield extra(f"{path} {name}")
    for name in sorted(wanted - found):
        yield missing(f"{path} {name}")
    if found - optional == wanted:
        yield ok(f"list {path}", f"{len(found)} as in the release" if found else "empty")
