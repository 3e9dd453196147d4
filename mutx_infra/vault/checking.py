"""The auditor's look at a tenant's Vault: every claim as a live attempt, a verdict each, in the format of evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeGuard

from mutx_infra.byok import Product
from mutx_infra.environment_part import is_loopback_url
from mutx_infra.errors import MutxInfraError, OutsideError, RefusedError
from mutx_infra.evidence import Bundle, Check, Subject, judge
from mutx_infra.ports import Clock, EvidenceStore
from mutx_infra.vault import claims as c
from mutx_infra.vault.claims import Attempt, Came, Claim, Way
from mutx_infra.vault.handover import Handover
from mutx_infra.vault.layout import AUDIT_DEVICE, CERT_AUTH
from mutx_infra.vault.lints import lint_policies
from mutx_infra.vault.parties import Who
from mutx_infra.vault.products import TRAITS, audit_devices
from mutx_infra.vault.readback import live_policies
from mutx_infra.vault_ports import ClientCertificate, TenantVault, VaultSession

LONGEST_TOKEN_S, LONGEST_RENEWED_S = 900, 86_400
_TENANT_KEYS = {"transit", "awskms", "azurekeyvault", "gcpckms", "ocikms", "kmip", "pkcs11"}
"""Kinds of seal whose key lies outside of the host."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the auditor has at hand.

    Attributes:
        certificates: of whom there are any.
        strangers: certificates of an authority made for this look, with names that the Vault knows.
    """

    certificates: Mapping[Who, ClientCertificate]
    strangers: tuple[ClientCertificate, ...] = ()


@dataclass(frozen=True, slots=True)
class Volumes:
    """How the volumes under the Vault were seen; `is_met` is None where they were not."""

    seen: str
    is_met: bool | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a look gave, and where it was written."""

    bundle: Bundle
    path: str


@dataclass(frozen=True, slots=True)
class _Seen:
    seen: object
    is_met: bool | None
    reason: str = ""


class VaultCheck:
    """The use case.

    Args:
        volumes: looks at the cloud, if there is a way to.
        tools: versions for the evidence.
    """

    def __init__(
        self,
        handover: Handover,
        url: str,
        vault: TenantVault,
        shown: Shown,
        volumes: Callable[[], Volumes],
        evidence: EvidenceStore,
        clock: Clock,
        tools: Mapping[str, str],
    ) -> None:
        self._handover, self._url, self._vault, self._shown = handover, url, vault, shown
        self._volumes, self._evidence, self._clock, self._tools = volumes, evidence, clock, tools

    def run(self, finished: Callable[[Check], None]) -> Checked:
        """Make every attempt, and keep what was seen.

        Args:
            finished: told of each check as it ends.

        Raises:
            OutsideError: the Vault cannot be reached, or is sealed: nothing can be said.
        """
        started_at = self._clock.now()
        health = self._vault.health()
        if health.is_sealed:
            raise OutsideError(
                f"the Vault at {self._url} is sealed",
                code="vault-sealed",
                remedy="it opens by itself once it reaches the key that seals it; then check again",
            )
        with ExitStack() as stack:
            people = _People(self._vault, self._shown, self._handover, stack)
            checks = []
            for check in (*self._readings(people), *self._attempts(people, started_at)):
                checks.append(check)
                finished(check)
        bundle = Bundle(
            subject=Subject(
                tenant=self._handover.tenant,
                endpoints={"vault": self._url},
                is_production=not is_loopback_url(self._url),
            ),
            tools={**self._tools, "vault": health.version},
            started_at=started_at,
            ended_at=self._clock.now(),
            checks=tuple(checks),
        )
        return Checked(bundle, self._evidence.keep(bundle))

    def _readings(self, people: _People) -> Iterator[Check]:
        product = self._handover.product
        reader = _Reader(self._vault, people, product)
        declared = ", declared in the configuration alone" if TRAITS[product].declares_audit else " alone"
        looks: tuple[tuple[str, Callable[[], _Seen]], ...] = (
            ("transit or a KMS key", reader.seal),
            ("AES-256-GCM", reader.barrier),
            ("encrypted, as planned", self._seen_volumes),
            (f"{AUDIT_DEVICE}{declared}", reader.audit),
            ("15 min, 24 h", reader.lifetimes),
            (f"{LONGEST_TOKEN_S} s at most", reader.tokens),
            ("no lint", reader.policies),
        )
        for control, (wanted, look) in zip(c.readings(product), looks, strict=True):
            began = self._clock.now()
            seen = _looked(look)
            yield judge(
                control, self._handover.tenant, seen=seen.seen, wanted=wanted, is_met=seen.is_met,
                reason=seen.reason, started_at=began, ended_at=self._clock.now(),
            )  # fmt: skip

    def _seen_volumes(self) -> _Seen:
        volumes = self._volumes()
        return _Seen(volumes.seen, volumes.is_met, volumes.reason)

    def _attempts(self, people: _People, started_at: datetime) -> Iterator[Check]:
        beyond = (started_at.astimezone(UTC) + timedelta(hours=25)).strftime("%Y-%m-%dT%H:%M:%SZ")
        for claim in c.claims(beyond, self._handover.product):
            began = self._clock.now()
            seen = _kept(claim, people)
            yield judge(
                claim.control, self._handover.tenant, seen=seen.seen,
                wanted=" or ".join(sorted(claim.wanted)), is_met=seen.is_met, reason=seen.reason,
                started_at=began, ended_at=self._clock.now(),
            )  # fmt: skip


class _People:
    """Everybody who has something to show, logged in once."""

    def __init__(self, vault: TenantVault, shown: Shown, handover: Handover, stack: ExitStack) -> None:
        self._vault, self._shown, self._handover, self._stack = vault, shown, handover, stack
        self._sessions: dict[Who, VaultSession | MutxInfraError | None] = {}

    def session(self, who: Who) -> VaultSession | MutxInfraError | None:
        """Return a session, why there is none, or None where nothing is at hand."""
        if who not in self._sessions:
            self._sessions[who] = self._log_in(who)
        return self._sessions[who]

    def certificates(self, who: Who) -> tuple[ClientCertificate, ...]:
        """Return what somebody shows."""
        if who is Who.STRANGER:
            return self._shown.strangers
        own = self._shown.certificates.get(who)
        return (own,) if own else ()

    def names(self, who: Who) -> dict[str, str]:
        """Return the names that attempts of somebody's take: of its host and agent, and of another agent."""
        session = self.session(who)
        host = self._handover.machines[0].name if self._handover.machines else c.MARK
        if _is_in(session) and who in {Who.AGENT, Who.MACHINE}:
            said = session.read("auth/token/lookup-self") or {}
            host = str((said.get("meta") or {}).get("common_name", host))
        own = next((m.key for m in self._handover.machines if m.name == host), c.MARK)
        other = next(
            (m.key for m in self._handover.machines if m.key != own and m.role == "agent"), f"{c.MARK}-other"
        )
        return {"host": host, "own": own, "other": other}

    @contextmanager
    def as_role(self, shown: ClientCertificate, role: str) -> Iterator[VaultSession]:
        """Log in by a certificate for one attempt."""
        session = self._vault.login(shown, role)
        try:
            yield session
        finally:
            session.end()

    def _log_in(self, who: Who) -> VaultSession | MutxInfraError | None:
        if who is Who.ANYBODY:
            return self._vault.unknown()
        shown = self.certificates(who)
        if not shown:
            return None
        try:
            session = self._vault.login(shown[0], c.ROLE_OF.get(who, ""))
        except MutxInfraError as exc:
            return exc
        self._stack.callback(session.end)
        return session


def _kept(claim: Claim, people: _People) -> _Seen:
    """Make a claim's attempts and say whether all came out as wanted."""
    if claim.attempts[0].way is Way.LOGIN:
        return _kept_out(claim, people)
    session = people.session(claim.who)
    if session is None:
        return _Seen(
            "nothing", None, f"no certificate of this kind at hand: give `--as {claim.who}=CERT,KEY`"
        )
    if isinstance(session, MutxInfraError):
        if Came.NO_LOGIN in claim.wanted and session.code == "vault-login":
            return _Seen("no login", is_met=True)
        return _Seen("nothing", None, f"could not log in: {session.message}")
    try:
        names = people.names(claim.who)
        came = [(attempt, _came(session, attempt)) for attempt in (a.filled(names) for a in claim.attempts)]
        if claim.who is not Who.ANYBODY:
            # An ended token is denied everything, which would prove nothing.
            session.read("auth/token/lookup-self")
    except MutxInfraError as exc:
        return _Seen(
            "nothing", None, f"{exc.message}: an attempt could not be made, or the token ended meanwhile"
        )
    broken = [(attempt, what) for attempt, what in came if what not in claim.wanted]
    seen = "; ".join(f"{attempt}: {what}" for attempt, what in broken or came)
    return _Seen(
        seen,
        not broken,
        "; ".join(_undone(session, attempt) for attempt, what in broken if what is Came.DONE),
    )


def _kept_out(claim: Claim, people: _People) -> _Seen:
    shown = people.certificates(claim.who)
    if not shown:
        return _Seen(
            "nothing", None, f"no certificate of this kind at hand: give `--as {claim.who}=CERT,KEY`"
        )
    names, broken, tried = people.names(claim.who), [], 0
    for certificate in shown:
        for attempt in (a.filled(names) for a in claim.attempts):
            tried += 1
            try:
                with people.as_role(certificate, attempt.path):
                    broken.append(attempt.path or "whatever fits")
            except RefusedError:
                continue
            except MutxInfraError as exc:
                return _Seen("nothing", None, f"an attempt could not be made: {exc.message}")
    return _Seen(f"logged in as {', '.join(broken)}" if broken else f"no login, {tried} attempts", not broken)


def _came(session: VaultSession, attempt: Attempt) -> Came:
    try:
        _do(session, attempt.way, attempt.path, attempt.data)
    except RefusedError as exc:
        return Came.DENIED if exc.code == "vault-denied" else Came.REFUSED
    return Came.DONE


def _undone(session: VaultSession, attempt: Attempt) -> str:
    if attempt.undo is None:
        return f"{attempt.path}: nothing stays of it"
    way, path = attempt.undo
    try:
        _do(session, way, path, {})
    except MutxInfraError:
        return f"{path} was made and could not be taken away again: have the tenant's administrator delete it"
    return f"{path} was made and taken away again"


def _do(session: VaultSession, way: Way, path: str, data: Mapping[str, Any]) -> None:
    if way is Way.WRITE:
        session.write(path, data)
    elif way is Way.DELETE:
        session.delete(path)
    elif way is Way.LIST:
        session.list(path)
    else:
        session.read(path)


class _Reader:
    """What the server says of itself."""

    def __init__(self, vault: TenantVault, people: _People, product: Product) -> None:
        self._vault, self._people, self._product = vault, people, product

    def seal(self) -> _Seen:
        kind = self._vault.health().seal
        reason = "" if kind in _TENANT_KEYS else "whoever has the host's disk has the key too"
        return _Seen(kind, kind in _TENANT_KEYS, reason)

    def barrier(self) -> _Seen:
        said = _found(self._reading(Who.ADMIN).read("sys/key-status"))
        # The API names no cipher: there is one, which is built in (barrier_aes_gcm.go; keys of 32 bytes).
        seen = f"key {said['term']} of {said['install_time']}, {said['encryptions']} encryptions with it"
        return _Seen(f"AES-256-GCM is built into the server and cannot be configured; {seen}", is_met=True)

    def audit(self) -> _Seen:
        kinds, declared = audit_devices(self._product, self._reading(Who.ADMIN))
        wanted = declared if TRAITS[self._product].declares_audit else {f"{AUDIT_DEVICE}/"}
        return _Seen(
            f"live: {_listed(f'{path} ({kind})' for path, kind in kinds.items())}; declared: {_listed(declared)}",
            f"{AUDIT_DEVICE}/" in wanted and set(kinds) == wanted,
        )

    def lifetimes(self) -> _Seen:
        session = self._reading(Who.ADMIN, Who.ONBOARDER)
        roles = {
            name: _found(session.read(f"auth/{CERT_AUTH}/certs/{name}"))
            for name in session.list(f"auth/{CERT_AUTH}/certs")
        }
        wrong = [name for name, role in roles.items() if not _is_brief(role)]
        seen = [
            f"{name}: {role['token_ttl']} s, {role['token_max_ttl']} s at most"
            for name, role in roles.items()
        ]
        return _Seen(seen, bool(roles) and not wrong, f"not so: {', '.join(wrong)}" if wrong else "")

    def tokens(self) -> _Seen:
        lives = {}
        for who in (*c.ROLE_OF, Who.AGENT, Who.MACHINE):
            session = self._people.session(who)
            if _is_in(session):
                lives[who] = int(_found(session.read("auth/token/lookup-self"))["creation_ttl"])
        if not lives:
            raise _NothingAtHandError(Who.ADMIN)
        return _Seen(
            [f"{who}: {ttl} s" for who, ttl in lives.items()],
            all(0 < ttl <= LONGEST_TOKEN_S for ttl in lives.values()),
        )

    def policies(self) -> _Seen:
        session = self._reading(Who.ADMIN, Who.ONBOARDER)
        texts = live_policies(session)
        found = lint_policies(texts)
        return _Seen([f"{lint.policy}: {lint.rule} {lint.path}" for lint in found] or list(texts), not found)

    def _reading(self, *who: Who) -> VaultSession:
        for one in who:
            session = self._people.session(one)
            if _is_in(session):
                return session
        raise _NothingAtHandError(who[0])


class _NothingAtHandError(Exception):
    """Nobody is logged in who could read it."""

    def __init__(self, who: Who) -> None:
        super().__init__(f"nobody at hand can read this: give `--as {who}=CERT,KEY`")


def _is_in(session: VaultSession | MutxInfraError | None) -> TypeGuard[VaultSession]:
    return session is not None and not isinstance(session, MutxInfraError)


def _looked(look: Callable[[], _Seen]) -> _Seen:
    try:
        return look()
    except _NothingAtHandError as exc:
        return _Seen("nothing", None, str(exc))
    except MutxInfraError as exc:
        return _Seen("nothing", None, exc.message)


def _is_brief(role: Mapping[str, Any]) -> bool:
    return (
        0 < int(role["token_ttl"]) <= LONGEST_TOKEN_S
        and 0 < int(role["token_max_ttl"]) <= LONGEST_RENEWED_S
        and not int(role.get("token_period") or 0)
        and role.get("token_type") in {"service", "batch"}
        and bool(role.get("token_no_default_policy"))
    )


def _found(said: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return said or {}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
