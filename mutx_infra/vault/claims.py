"""What must hold of a tenant's Vault, as data: who tries what, and what is to come of it. Pure.

A claim is kept by a live attempt against the running server: what a server says of capabilities leaves parameters out.
Attempts are chosen so that one which succeeds by mistake does no harm: what it makes is taken away again, or it names
something that does not exist, which the server looks for only after it has looked at rights. What could not be taken
back (sealing, stepping down, new root or recovery keys) is not tried: the lints of the policies read back stand for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from mutx_infra.byok import Product
from mutx_infra.evidence import Control
from mutx_infra.vault.layout import (
    AGENTS,
    CERT_AUTH,
    DEPOSITOR,
    KV_MOUNT,
    MACHINE_PKI,
    ONBOARDER,
    OPERATOR,
    SERVICE_PKI,
    SHARED,
    SSH_MOUNT,
    SSH_ROLE,
    TENANT_ADMIN,
)
from mutx_infra.vault.parties import Who
from mutx_infra.vault.products import TRAITS, Traits

MARK = "mutx-check"
"""How everything is called that an attempt would make: none of it exists, and none of it stays."""


ROLE_OF = {
    Who.ONBOARDER: ONBOARDER, Who.OPERATOR: OPERATOR, Who.ADMIN: TENANT_ADMIN, Who.DEPOSITOR: DEPOSITOR,
}  # fmt: skip
"""As what somebody logs in; the others as whatever fits their certificate."""


class Way(StrEnum):
    """How something is tried."""

    READ = "read"
    LIST = "list"
    WRITE = "write"
    DELETE = "delete"
    LOGIN = "log in as"


class Came(StrEnum):
    """What came of it.

    Attributes:
        DENIED: no right to do it.
        REFUSED: the server does not do that, or not with these words.
        NO_LOGIN: the certificate is good for nobody.
    """

    DENIED = "denied"
    REFUSED = "refused"
    NO_LOGIN = "no login"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request.

    Attributes:
        path: as the API has it, or a role to log in as; `{own}` and `{other}` stand for agents, `{host}` for a host.
        undo: what takes away what it makes, if by mistake it makes something.
    """

    way: Way
    path: str
    data: Mapping[str, Any] = field(default_factory=dict)
    undo: tuple[Way, str] | None = None

    def filled(self, names: Mapping[str, str]) -> Attempt:
        """Return the attempt with names in their places."""
        data = {key: _filled(value, names) for key, value in self.data.items()}
        return Attempt(self.way, _filled(self.path, names), data, self.undo)

    def __str__(self) -> str:
        return f"{self.way} {self.path}"


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that somebody cannot do.

    Attributes:
        wanted: all that may come of any of the attempts.
    """

    control: Control
    who: Who
    attempts: tuple[Attempt, ...]
    wanted: frozenset[Came]


def _filled(text: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401 - data is whatever the API takes
    for name, value in names.items():
        text = text.replace(f"{{{name}}}", value) if isinstance(text, str) else text
    return text


def _control(control: str, title: str, requirement: str, remedy: str) -> Control:
    return Control(id=f"vault-{control}", title=title, requirements=(requirement,), remedy=remedy)


def _read(*paths: str) -> tuple[Attempt, ...]:
    return tuple(Attempt(Way.READ, path) for path in paths)


def _list(*paths: str) -> tuple[Attempt, ...]:
    return tuple(Attempt(Way.LIST, path) for path in paths)


def _write(path: str, undo: Way | None = None, **data: object) -> Attempt:
    return Attempt(Way.WRITE, path, data, (undo, path) if undo else None)


def _logins(*roles: str) -> tuple[Attempt, ...]:
    return tuple(Attempt(Way.LOGIN, role) for role in roles)


_AUDIT_STAYS = "vault-audit-02"
_DENIED = frozenset({Came.DENIED})
_TURNED_AWAY = frozenset({Came.DENIED, Came.REFUSED})
_NOBODY = frozenset({Came.NO_LOGIN})

_POLICY_REMEDY = (
    "have the tenant's administrator apply the release's policies: `mutx-infra vault policy apply`"
)
_LOGIN_REMEDY = (
    "have the tenant's administrator compare `auth/cert/certs/*` with the release: `mutx-vault-verify`"
)
_SERVER_REMEDY = (
    "render the server's configuration anew and restart it: nothing of this is for the API to change"
)

_DATA, _METADATA = f"{KV_MOUNT}/data", f"{KV_MOUNT}/metadata"
_KEYS = (
    f"{_DATA}/{SHARED}/{MARK}", f"{_DATA}/{AGENTS}/{{own}}/{MARK}", f"{_METADATA}/{SHARED}/{MARK}",
    f"{KV_MOUNT}/subkeys/{SHARED}/{MARK}", f"{KV_MOUNT}/config",
)  # fmt: skip
_LETTERS = 'length = 20\nrule "charset" {\n  charset = "abcdefghij"\n}\n'
_DENYING = f'path "{MARK}" {{ capabilities = ["deny"] }}'

_POWERS: tuple[tuple[str, str, tuple[Attempt, ...]], ...] = (
    ("01", "reads no key", _read(*_KEYS)),
    ("02", "lists no key", _list(_METADATA, f"{_METADATA}/{AGENTS}", f"{_METADATA}/{SHARED}")),
    (
        "03",
        "changes and destroys no key",
        (
            Attempt(
                Way.WRITE, f"{_DATA}/{SHARED}/{MARK}", {"data": {"no": "key"}, "options": {"cas": 0}},
                (Way.DELETE, f"{_METADATA}/{SHARED}/{MARK}"),
            ),
            _write(f"{KV_MOUNT}/destroy/{SHARED}/{MARK}", versions=[1]),
            Attempt(Way.DELETE, f"{_METADATA}/{SHARED}/{MARK}"),
        ),
    ),
    (
        "04",
        "writes no policy",
        (
            _write(f"sys/policies/acl/{MARK}", Way.DELETE, policy=_DENYING),
            _write(f"sys/policies/password/{MARK}", Way.DELETE, policy=_LETTERS),
        ),
    ),
    (
        "05",
        "makes no token",
        (
            # One that is made by mistake ends by itself at once.
            _write("auth/token/create", ttl="1s", num_uses=1),
            _write("auth/token/create-orphan", ttl="1s", num_uses=1),
            _write(f"auth/token/roles/{MARK}", Way.DELETE),
        ),
    ),
    (
        "06",
        "makes and changes no identity",
        (
            _write(f"identity/entity/name/{MARK}", Way.DELETE),
            _write(f"identity/group/name/{MARK}", Way.DELETE),
            _write("identity/entity-alias", name=MARK, canonical_id=MARK, mount_accessor=MARK),
            _write("identity/entity/merge", from_entity_ids=[MARK], to_entity_id=MARK),
        ),
    ),
    (
        "07",
        "makes no way to log in",
        (
            _write(f"auth/{CERT_AUTH}/certs/{MARK}", certificate="none"),
            _write(f"sys/auth/{MARK}", type=MARK),
        ),
    ),
    (
        "08",
        "makes, moves and tunes no engine",
        (
            _write(f"sys/mounts/{MARK}", type=MARK),
            Attempt(Way.WRITE, "sys/remount", {"from": MARK, "to": f"{MARK}-2"}),
            _write(f"sys/mounts/{MARK}/tune", description=MARK),
            *_read("sys/plugins/catalog", "sys/namespaces"),
        ),
    ),
    (
        "09",
        "changes nothing about the audit log",
        (_write(f"sys/audit/{MARK}", type=MARK), *_read("sys/audit"), _write("sys/audit-hash/file", input=MARK)),
    ),
    (
        "10",
        "takes no copy of the storage, and no part in new root or recovery keys",
        (
            *_read("sys/storage/raft/snapshot", "sys/rotate/root/init", "sys/rotate/recovery/init"),
            *_read("sys/generate-root-token/attempt"),
            _write("sys/rotate/recovery/init", secret_shares=0, secret_threshold=0),
            _write("sys/storage/raft/remove-peer", server_id=MARK),
        ),
    ),
    (
        "11",
        "signs no certificate",
        (
            _write(f"{SERVICE_PKI}/issue/{MARK}", common_name=MARK),
            _write(f"{MACHINE_PKI}/sign/{MARK}", csr=""),
            _write(f"{MACHINE_PKI}/sign-verbatim/{MARK}", csr=""),
            _write(f"{SSH_MOUNT}/sign/{MARK}", public_key=""),
            *_read(f"{SSH_MOUNT}/roles/{SSH_ROLE}"),
        ),
    ),
    (
        "12",
        "looks into and ends nobody else's token",
        (
            *_list("auth/token/accessors", "sys/leases/lookup"),
            _write("auth/token/lookup-accessor", accessor=MARK),
            _write("auth/token/revoke-accessor", accessor=MARK),
            _write("sys/leases/revoke", lease_id=f"{MARK}/{MARK}"),
        ),
    ),
    ("13", "keeps nothing of its own", (_write(f"cubbyhole/{MARK}", Way.DELETE, no="key"), *_read("sys/tools/random"))),
)  # fmt: skip
"""What nobody can but the tenant's administrators; numbers are part of control ids, and stay."""

_CALLED = {
    Who.OPERATOR: "the platform's operator",
    Who.ONBOARDER: "the platform's onboarder",
    Who.AGENT: "an agent",
    Who.MACHINE: "a host that is no agent",
    Who.DEPOSITOR: "a depositor",
}
_ITS_OWN = {
    Who.AGENT: {"01"},
    Who.MACHINE: set[str](),
    Who.DEPOSITOR: {"01", "02", "03"},
    Who.OPERATOR: set[str](),
    Who.ONBOARDER: set[str](),
}
"""Numbers of powers that somebody has in part: rows of their own say in which."""


def claims(beyond_a_day: str, product: Product = Product.OPENBAO) -> tuple[Claim, ...]:
    """Return all claims that are attempts.

    Args:
        beyond_a_day: a time a little more than 24 h from now, RFC 3339: a certificate that by mistake is good until
            then is no lasting harm.
        product: which server it is: what it does not give is no claim.
    """
    return tuple(_claimed(_every(beyond_a_day), TRAITS[product]))


def readings(product: Product = Product.OPENBAO) -> tuple[Control, ...]:
    """Return the claims that are kept by reading what the server says of itself, in order."""
    logged = AUDITED if TRAITS[product].declares_audit else LOGGED
    return (SEAL, BARRIER, VOLUMES, logged, LIFETIMES, TOKENS, POLICIES_READ)


def _claimed(every: Iterable[Claim], traits: Traits) -> Iterator[Claim]:
    for claim in every:
        attempts = tuple(each for each in claim.attempts if each.path not in traits.open_to_anybody)
        if claim.control.id == _AUDIT_STAYS and not traits.declares_audit:
            continue
        yield claim if claim.who is not Who.ANYBODY else replace(claim, attempts=attempts)


def _every(beyond_a_day: str) -> tuple[Claim, ...]:
    return (
        *_of_the_unknown(),
        *(claim for who in _CALLED for claim in _powers(who)),
        *_of_machines(beyond_a_day),
    )


def _powers(who: Who) -> list[Claim]:
    requirement = "BYOK-3"
    return [
        Claim(
            _control(f"{who}-{number}", f"{_CALLED[who]} {title}", requirement, _POLICY_REMEDY),
            who,
            attempts,
            # The onboarder's role is gone once the tenant has claimed its Vault.
            _DENIED | _NOBODY if who is Who.ONBOARDER else _DENIED,
        )
        for number, title, attempts in _POWERS
        if number not in _ITS_OWN[who]
    ]


def _of_the_unknown() -> tuple[Claim, ...]:
    names = _logins("", OPERATOR, ONBOARDER, TENANT_ADMIN, "{host}")
    return (
        Claim(
            _control("anybody-01", "nobody reads or lists a key without logging in", "BYOK-3", _SERVER_REMEDY),
            Who.ANYBODY,
            (*_read(*_KEYS), *_list(_METADATA)),
            _DENIED,
        ),
        Claim(
            _control("anybody-02", "nobody makes root or recovery keys without logging in", "BYOK-3", _SERVER_REMEDY),
            Who.ANYBODY,
            _read(
                "sys/generate-root/attempt", "sys/generate-root-token/attempt", "sys/generate-recovery-token/attempt",
                "sys/rekey/init", "sys/rotate/root/init", "sys/rotate/recovery/init",
            ),
            _TURNED_AWAY,
        ),
        Claim(
            _control("anybody-03", "nobody looks into the server without logging in", "BYOK-3", _SERVER_REMEDY),
            Who.ANYBODY,
            (
                *_read(
                    "sys/metrics", "sys/in-flight-req", "sys/host-info", "sys/pprof/cmdline", "sys/audit",
                    "sys/policies/acl/agent", "sys/storage/raft/configuration",
                    f"auth/{CERT_AUTH}/certs/{TENANT_ADMIN}",
                ),
                _write("sys/config/reload/audit"),
            ),
            _TURNED_AWAY,
        ),
        Claim(
            _control("anybody-04", "nobody logs in without a certificate", "PRIN-1", _LOGIN_REMEDY),
            Who.ANYBODY,
            (_write(f"auth/{CERT_AUTH}/login", name=TENANT_ADMIN), _write(f"auth/{CERT_AUTH}/login")),
            _TURNED_AWAY,
        ),
        Claim(
            _control("stranger-01", "a certificate of an unknown authority logs nobody in", "PRIN-1", _LOGIN_REMEDY),
            Who.STRANGER,
            names,
            _NOBODY,
        ),
        Claim(
            _control("tenants-01", "a certificate for another tenant's Vault logs nobody in", "ZTNA-2", _LOGIN_REMEDY),
            Who.OTHER_TENANT,
            names,
            _NOBODY,
        ),
        *(
            Claim(
                _control(f"{who}-20", f"{_CALLED[who]} logs in as nobody else", "BYOK-3", _LOGIN_REMEDY),
                who,
                _logins(*({OPERATOR, ONBOARDER, TENANT_ADMIN} - {ROLE_OF.get(who)})),
                _NOBODY,
            )
            for who in _CALLED
        ),
        Claim(
            _control("audit-02", "not even the tenant's administrators change the audit log", "BYOK-4", _SERVER_REMEDY),
            Who.ADMIN,
            (_write(f"sys/audit/{MARK}", Way.DELETE, type="file", options={"file_path": "discard"}),),
            frozenset({Came.REFUSED}),
        ),
        Claim(
            _control("root-01", "not even the tenant's administrators make a root token", "BYOK-3", _SERVER_REMEDY),
            Who.ADMIN,
            (_write("auth/token/create", policies=["root"], ttl="1s", num_uses=1),),
            frozenset({Came.REFUSED}),
        ),
    )  # fmt: skip


def _of_machines(beyond_a_day: str) -> tuple[Claim, ...]:
    others = (f"{_DATA}/{AGENTS}/{{other}}/{MARK}", f"{_METADATA}/{AGENTS}/{{other}}/{MARK}")
    return (
        Claim(
            _control("agent-30", "an agent reads no other agent's key", "PRIN-2", _POLICY_REMEDY),
            Who.AGENT,
            (*_read(*others, f"{KV_MOUNT}/subkeys/{AGENTS}/{{other}}/{MARK}"), *_read(f"{_DATA}/{MARK}")),
            _DENIED,
        ),
        Claim(
            _control("depositor-30", "a depositor reads back no key", "BYOK-3", _POLICY_REMEDY),
            Who.DEPOSITOR,
            _read(
                f"{_DATA}/{SHARED}/{MARK}", f"{_DATA}/{AGENTS}/{{other}}/{MARK}", f"{KV_MOUNT}/subkeys/{SHARED}/{MARK}",
            ),
            _DENIED,
        ),
        Claim(
            _control("depositor-31", "a depositor destroys no key", "BYOK-3", _POLICY_REMEDY),
            Who.DEPOSITOR,
            (
                Attempt(Way.DELETE, f"{_METADATA}/{SHARED}/{MARK}"),
                _write(f"{KV_MOUNT}/destroy/{SHARED}/{MARK}", versions=[1]),
                _write(f"{KV_MOUNT}/delete/{SHARED}/{MARK}", versions=[1]),
            ),
            _DENIED,
        ),
        *(
            Claim(
                _control(f"{who}-31", f"{_CALLED[who]} gets no certificate for over a day", "ZTNA-5", _POLICY_REMEDY),
                who,
                (_write(f"{SERVICE_PKI}/issue/{{host}}", common_name="{host}", not_after=beyond_a_day),),
                _TURNED_AWAY,
            )
            for who in (Who.AGENT, Who.MACHINE)
        ),
        *(
            Claim(
                _control(f"{who}-32", f"{_CALLED[who]} gets no certificate for another name", "ZTNA-5", _POLICY_REMEDY),
                who,
                (
                    _write(f"{SERVICE_PKI}/issue/{{host}}", common_name=MARK, ttl="1s"),
                    _write(f"{SERVICE_PKI}/issue/{{host}}", common_name=f"{MARK}@{{host}}", ttl="1s"),
                    _write(f"{SERVICE_PKI}/issue/{{host}}", common_name="{host}", ttl="1s", alt_names=MARK),
                    _write(f"{MACHINE_PKI}/issue/{{host}}", common_name="{host}", ttl="1s"),
                ),
                _TURNED_AWAY,
            )
            for who in (Who.AGENT, Who.MACHINE)
        ),
    )  # fmt: skip


SEAL = _control("seal-01", "the storage is sealed by a key of the tenant's own", "BYOK-1",
                "set `byok.seal` to a transit key in the tenant's Vault, or to a KMS key in its account")  # fmt: skip
BARRIER = _control("barrier-01", "what is stored is encrypted by AES-256-GCM", "BYOK-1", _SERVER_REMEDY)
VOLUMES = _control("volume-01", "the volumes that the storage and the audit log lie on are encrypted", "BYOK-1",
                   "make the tenant's stack anew as planned: `mutx-infra tenant create`")  # fmt: skip
AUDITED = _control("audit-01", "every request is logged, by devices that no caller of the API can change", "BYOK-4",
                   _SERVER_REMEDY)  # fmt: skip
LOGGED = _control("audit-03", "every request is logged, which the tenant's administrators alone can change", "BYOK-4",
                  "have the tenant's administrator enable the device again: `sys/audit/file`")  # fmt: skip
LIFETIMES = _control("lifetime-01", "no login gives a token for over 15 minutes, renewed to over 24 hours", "BYOK-5",
                     _LOGIN_REMEDY)  # fmt: skip
TOKENS = _control("lifetime-02", "the tokens at hand are for 15 minutes at most", "BYOK-5", _LOGIN_REMEDY)
POLICIES_READ = _control("policy-01", "no policy in force grants what only the tenant's administrators may",
                         "BYOK-3", _POLICY_REMEDY)  # fmt: skip
