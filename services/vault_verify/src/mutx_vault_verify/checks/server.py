"""The server itself: its version and seal, its nodes, its plugins, the keys that open it anew, and the claim."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mutx_vault_verify.check import Check, extra, judged, ok, unknown, unseen
from mutx_vault_verify.checks.authorities import ssh_signers
from mutx_vault_verify.document import mapping, number, sequence, shown, text, texts
from mutx_vault_verify.expectation import Expectation, State
from mutx_vault_verify.matching import differences
from mutx_vault_verify.problem import Unanswered
from mutx_vault_verify.vault import Source

HEALTH = "sys/health?standbyok=true"
"""A node that does not lead says 429 otherwise."""
SKEW_S = 60
_LONGEST_LABEL = 63
_NO_BACKUP = "no backed-up keys"
_QUIET = frozenset({"info", "warn", "error"})


def read_state(source: Source, want: Expectation) -> tuple[State, Check]:
    """Return whether the tenant has claimed the Vault, by all that a claim changes on its server."""
    signs = {sign: _SIGNS[sign](source, want) for sign in want.manifest["claim"]}
    if all(signs.values()):
        return State.CLAIMED, ok("claim", "claimed: the platform's onboarder is gone")
    if not any(signs.values()):
        return State.UNCLAIMED, ok(
            "claim", "not claimed yet: the platform's onboarder still reads its settings"
        )
    said = ", ".join(f"{sign}: {'yes' if there else 'no'}" for sign, there in signs.items())
    return State.HALFWAY, judged("claim", [f"{said}; `vault claim` goes on where it stopped"])


def _has_recovery_keys(source: Source, want: Expectation) -> bool:
    return number(_seal(source), "n") > 0 and not _kept(source, want)


def _has_lost_the_onboarder(source: Source, want: Expectation) -> bool:
    return not set(want.manifest["until_claim"]) & set(source.names("auth/cert/certs"))


_SIGNS: Mapping[str, Callable[[Source, Expectation], bool]] = {
    "recovery keys set": _has_recovery_keys,
    "SSH authority made": lambda source, want: bool(ssh_signers(source, want)),
    "onboarder gone": _has_lost_the_onboarder,
}


def check_server(source: Source, want: Expectation) -> Iterator[Check]:
    """Look at which server it is, its version, its clock and how loud its log is."""
    yield judged("server product", _others(source, want), want.manifest["called"])
    seal = _seal(source)
    version = text(seal, "version")
    known = want.manifest["servers"]
    yield judged(
        "server version", [] if version in known else [f"is {shown(version)}, not {shown(known)}"], version
    )
    health = mapping(source.get(HEALTH), HEALTH)
    ahead_s = number(health, "server_time_utc") - want.at.timestamp()
    yield judged(
        "clock", [] if abs(ahead_s) <= SKEW_S else [f"the Vault's is {ahead_s:+.0f} s from this machine's"]
    )
    levels = mapping(source.get("sys/loggers"), "sys/loggers")
    if not levels:
        raise Unanswered("the server says of no part how loud it is")
    loud = [name for name in sorted(levels) if text(levels, name) not in _QUIET]
    yield judged("log level", [f"{shown(name)} logs {shown(levels[name])}" for name in loud])


def check_unseen(_source: Source, want: Expectation) -> Iterator[Check]:
    """Say what no answer of this server shows, so that nobody takes it for looked at."""
    for name, why in sorted(want.manifest["unseen"].items()):
        yield unseen(name, why)


def check_seal(source: Source, want: Expectation) -> Iterator[Check]:
    """Look at the seal and at the keys that can open a Vault anew; whose key seals it, no Vault says."""
    seal = _seal(source)
    kind = text(seal, "type")
    allowed = want.manifest["seals"].get(kind)
    said = []
    if kind != want.handover.seal:
        said.append(f"is {shown(kind)}, and the hand-over file says {want.handover.seal}")
    if allowed != "tenant" and not (allowed == "trial" and want.takes_trial_seal):
        said.append(
            f"{shown(kind)} is no seal of the tenant's own (BYOK-1): its key lies on the Vault's host"
        )
    for field, value in (("initialized", True), ("migration", False), ("storage_type", "raft"),
                         ("cluster_name", want.handover.tenant)):  # fmt: skip
        if seal.get(field) != value:
            said.append(f"{field} is {shown(seal.get(field))}, not {shown(value)}")
    yield judged("seal", said, kind)
    yield _recovery(source, seal, want)
    for name, path in want.manifest["begun"].items():
        try:
            begun = mapping(source.get(path), path).get("started")
            yield judged(name, [] if begun is False else [f"has begun ({path}): ask who did"])
        except Unanswered as reason:
            yield unknown(name, str(reason))


def check_nodes(source: Source, want: Expectation) -> Iterator[Check]:
    """Look at who has a copy of the storage."""
    answer = mapping(source.get("sys/storage/raft/configuration"), "raft")
    found = [
        mapping(each, "a node")
        for each in sequence(mapping(answer.get("config"), "raft").get("servers"), "nodes")
    ]
    rule = want.filled(want.manifest["nodes"])
    names = [text(node, "node_id") for node in found]
    expected = {host_name(f"{rule['name']}{index}") for index in range(1, max(rule["counts"]) + 1)}
    for node, name in zip(found, names, strict=True):
        said = [] if node.get("voter") is True else ["has no vote"]
        if not text(node, "address").endswith(f":{rule['port']}"):
            said.append(f"is at {shown(node['address'])}, not at port {rule['port']}")
        address = shown(node["address"])
        yield (
            judged(f"node {name}", said, address)
            if name in expected
            else extra(f"node {shown(name)}", address)
        )
    count = len(found)
    yield judged(
        "node count", [] if count in rule["counts"] and len(set(names)) == count else [f"is {count}"]
    )


def check_plugins(source: Source, want: Expectation) -> Iterator[Check]:
    """Look for code that is not the server's own."""
    catalog = mapping(source.get("sys/plugins/catalog"), "the catalog")
    detailed = [mapping(each, "a plugin") for each in sequence(catalog.get("detailed"), "the catalog")]
    own = want.filled(want.manifest["plugin_versions"])
    foreign = [p for p in detailed if p.get("builtin") is not True or not _fits_any(own, p.get("version"))]
    for plugin in foreign:
        yield extra(
            f"plugin {shown(plugin.get('type'))}/{shown(plugin.get('name'))}",
            "it is none of the server's own",
        )
    known = {(text(p, "type"), text(p, "name")) for p in detailed}
    for kind in ("auth", "database", "secret"):
        for name in texts(catalog.get(kind), "the catalog"):
            if (kind, name) not in known:
                yield extra(f"plugin {kind}/{shown(name)}", "it is in no detailed list")
    if not {("secret", "kv"), ("secret", "pki"), ("secret", "ssh"), ("auth", "cert")} <= known:
        yield unknown("plugins", "the catalog does not even name what is in use")
    elif not foreign:
        yield ok("plugins", f"the server's own {len(detailed)} alone")


def host_name(name: str) -> str:
    """Return a host's name as the platform shortens it: 63 characters, the last of them of its SHA-256."""
    if len(name) <= _LONGEST_LABEL:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST_LABEL - 9].rstrip('-')}-{digest}"


def _others(source: Source, want: Expectation) -> Iterator[str]:
    """Yield what another server, or none that says the truth of itself, would answer."""
    for path, fields in sorted(want.filled(want.manifest["shows"]).items()):
        answer = mapping(source.get(path), path)
        for field, expected in sorted(fields.items()):
            if list(differences(expected, answer.get(field))):
                yield f"{path}: {field} is {shown(answer.get(field))}, not {shown(expected)}"
    for path, words in sorted(want.manifest["unknown"].items()):
        try:
            source.get(path)
        except Unanswered as reason:
            if words not in str(reason):
                yield f"{path} is answered {shown(str(reason))}, not {shown(words)}"
        else:
            yield f"it knows {path}, which {want.manifest['called']} does not"


def _fits_any(expected: list[str], found: object) -> bool:
    return any(not list(differences(each, found)) for each in expected)


def _seal(source: Source) -> Mapping[str, Any]:
    return mapping(source.get("sys/seal-status"), "sys/seal-status")


def _recovery(source: Source, seal: Mapping[str, Any], want: Expectation) -> Check:
    shares, threshold = number(seal, "n"), number(seal, "t")
    if seal.get("recovery_seal") is not True:
        return judged("recovery keys", ["the Vault is not sealed by a key outside of it"])
    if shares == 0 and want.state is not State.CLAIMED and "recovery keys set" in want.manifest["claim"]:
        return ok("recovery keys", "none yet")
    said = [] if 1 <= threshold <= shares else [f"{threshold} of {shares} make no sense"]
    if kept := _kept(source, want):
        said.append(
            f"the Vault still keeps the shares, for PGP {shown(kept)}: a claim ends with their deletion"
        )
    return judged("recovery keys", said, f"{threshold} of {shares}")


def _kept(source: Source, want: Expectation) -> list[str]:
    """Return the PGP keys of shares that the Vault keeps, encrypted, while a claim goes on."""
    try:
        backup = source.get(want.manifest["kept_shares"])
    except Unanswered as reason:
        if _NO_BACKUP in str(reason):
            return []
        raise
    return sorted(mapping(backup.get("keys"), "keys")) if backup else []
