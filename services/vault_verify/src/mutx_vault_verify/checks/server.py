"""The server itself: its version and seal, its nodes, its plugins, the keys that open it anew, and the claim."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from mutx_vault_verify.check import Check, extra, judged, ok, unknown
from mutx_vault_verify.document import mapping, number, sequence, shown, text, texts
from mutx_vault_verify.expectation import Expectation, State
from mutx_vault_verify.problem import Unanswered
from mutx_vault_verify.vault import Source

SKEW_S = 60
_LONGEST_LABEL = 63
_NO_BACKUP = "no backed-up keys"
_QUIET = frozenset({"info", "warn", "error"})


def read_state(source: Source, want: Expectation) -> tuple[State, Check]:
    """Return whether the tenant has claimed the Vault, by all three things that a claim changes."""
    onboarders = set(want.manifest["until_claim"])
    signs = {
        "recovery keys set": number(_seal(source), "n") > 0 and not _kept(source),
        "SSH authority made": bool(source.names(f"{want.manifest['ssh']['mount']}/issuers")),
        "onboarder gone": not onboarders & set(source.names("auth/cert/certs")),
    }
    if all(signs.values()):
        return State.CLAIMED, ok("claim", "claimed: the platform's onboarder is gone")
    if not any(signs.values()):
        return State.UNCLAIMED, ok(
            "claim", "not claimed yet: the platform's onboarder still reads its settings"
        )
    said = ", ".join(f"{sign}: {'yes' if there else 'no'}" for sign, there in signs.items())
    return State.HALFWAY, judged("claim", [f"{said}; `vault claim` goes on where it stopped"])


def check_server(source: Source, want: Expectation) -> Iterator[Check]:
    """Look at version, clock and how loud the log is."""
    seal = _seal(source)
    version = text(seal, "version")
    known = want.manifest["servers"]
    yield judged(
        "server version", [] if version in known else [f"is {shown(version)}, not {shown(known)}"], version
    )
    health = mapping(source.get("sys/health"), "sys/health")
    ahead_s = number(health, "server_time_utc") - want.at.timestamp()
    yield judged(
        "clock", [] if abs(ahead_s) <= SKEW_S else [f"the Vault's is {ahead_s:+.0f} s from this machine's"]
    )
    levels = mapping(source.get("sys/loggers"), "sys/loggers")
    if not levels:
        raise Unanswered("the server says of no part how loud it is")
    loud = [name for name in sorted(levels) if text(levels, name) not in _QUIET]
    yield judged("log level", [f"{shown(name)} logs {shown(levels[name])}" for name in loud])


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
    yield _recovery(source, seal, want.state)
    for name, path in (("generate-root", "sys/generate-root-token/attempt"), ("rotation of recovery keys",
                       "sys/rotate/recovery/init"), ("rotation of unseal keys", "sys/rotate/root/init")):  # fmt: skip
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
    own = f"v{want.marks['version']}+builtin.bao"
    foreign = [p for p in detailed if p.get("builtin") is not True or p.get("version") != own]
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


def _seal(source: Source) -> Mapping[str, Any]:
    return mapping(source.get("sys/seal-status"), "sys/seal-status")


def _recovery(source: Source, seal: Mapping[str, Any], state: State) -> Check:
    shares, threshold = number(seal, "n"), number(seal, "t")
    if seal.get("recovery_seal") is not True:
        return judged("recovery keys", ["the Vault is not sealed by a key outside of it"])
    if shares == 0 and state is not State.CLAIMED:
        return ok("recovery keys", "none yet")
    said = [] if 1 <= threshold <= shares else [f"{threshold} of {shares} make no sense"]
    if kept := _kept(source):
        said.append(
            f"the Vault still keeps the shares, for PGP {shown(kept)}: a claim ends with their deletion"
        )
    return judged("recovery keys", said, f"{threshold} of {shares}")


def _kept(source: Source) -> list[str]:
    """Return the PGP keys of shares that the Vault keeps, encrypted, while a claim goes on."""
    try:
        backup = source.get("sys/rotate/recovery/backup")
    except Unanswered as reason:
        if _NO_BACKUP in str(reason):
            return []
        raise
    return sorted(mapping(backup.get("keys"), "keys")) if backup else []
