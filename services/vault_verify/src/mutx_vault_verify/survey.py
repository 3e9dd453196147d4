"""The whole verification: every check in order, over one Vault."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from mutx_vault_verify.check import Check, Status, judged
from mutx_vault_verify.checks import authorities, logins, machines, server, settings, tokens
from mutx_vault_verify.checks.compare import attempt
from mutx_vault_verify.document import mapping, text
from mutx_vault_verify.expectation import Expectation, State
from mutx_vault_verify.vault import Source


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found.

    Attributes:
        state: None where even that could not be told.
    """

    state: State | None
    checks: tuple[Check, ...]

    @property
    def is_good(self) -> bool:
        """Whether the Vault is as the release says."""
        return self.state is not None and all(check.is_good for check in self.checks)


def survey(source: Source, want: Expectation, platform_ca: str | None = None) -> Survey:
    """Look at everything; a question without an answer is `unknown`, and the others go on.

    Args:
        source: the Vault, as an administrator.
        want: what must be found.
        platform_ca: SHA-256 of the platform's authority, where the tenant knows it.
    """
    known = _Preparation(source, want, platform_ca)
    checks = [
        *attempt("claim", known.claim),
        *attempt("server version", known.version),
        *attempt("platform's authority", known.platform),
        *attempt("authority of hosts", known.machines),
    ]
    for name, look in _LOOKS:
        checks += attempt(name, partial(look, source, known.want))
    for mount in sorted(want.manifest["authorities"]):
        checks += attempt(mount, partial(authorities.check_authority, source, known.want, mount))
    return Survey(known.state, tuple(checks))


def accepted(found: Survey, names: Iterable[str]) -> Survey:
    """Return a survey in which what the tenant itself has changed, by name, does not count.

    A name that fits nothing is `differs`: what somebody accepted once is not to be accepted unseen later.
    """
    wanted = set(names)
    changed = {Status.DIFFERS, Status.EXTRA, Status.MISSING}
    fitting = {check.name for check in found.checks if check.name in wanted and check.status in changed}
    checks = [
        Check(check.name, Status.ACCEPTED, f"{check.status}: {check.detail}")
        if check.name in fitting
        else check
        for check in found.checks
    ]
    stale = [judged(f"accepted {name}", ["there is no such finding"]) for name in sorted(wanted - fitting)]
    return Survey(found.state, (*checks, *stale))


class _Preparation:
    """What the other checks' expectations depend on, as far as the Vault says; marks that stay unknown fit nothing."""

    def __init__(self, source: Source, want: Expectation, platform_ca: str | None) -> None:
        self._source, self._given = source, platform_ca
        self.want = want.knowing(version="unknown", platform_ca="unknown", machine_ca="unknown")
        self.state: State | None = None

    def claim(self) -> Iterator[Check]:
        self.state, check = server.read_state(self._source, self.want)
        self.want = replace(self.want, state=self.state)
        yield check

    def version(self) -> Iterator[Check]:
        seal = mapping(self._source.get("sys/seal-status"), "sys/seal-status")
        self.want = self.want.knowing(version=text(seal, "version"))
        return iter(())

    def platform(self) -> Iterator[Check]:
        found, check = logins.platform_authority(self._source, self.want, self._given)
        self.want = self.want.knowing(platform_ca=found)
        yield check

    def machines(self) -> Iterator[Check]:
        self.want = self.want.knowing(machine_ca=authorities.machine_authority(self._source, self.want))
        return iter(())


_LOOKS: tuple[tuple[str, Callable[[Source, Expectation], Iterator[Check]]], ...] = (
    ("server", server.check_server),
    ("unseen", server.check_unseen),
    ("seal", server.check_seal),
    ("nodes", server.check_nodes),
    ("plugins", server.check_plugins),
    ("engines", settings.check_engines),
    ("policies", settings.check_policies),
    ("roles", logins.check_roles),
    ("hand-over", logins.check_digests),
    ("machines", machines.check_machines),
    ("identities", machines.check_identities),
    ("tokens", tokens.check_tokens),
    ("leases", tokens.check_leases),
    ("ssh", authorities.check_ssh),
    ("settings", settings.check_reads),
    ("lists", settings.check_lists),
)
