"""Bringing hosts in: minted once for each, known by what they leave, and safe to repeat."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import ClassVar

import pytest
from pydantic import SecretStr, ValidationError

from mutx_infra.access import HostKey, HostTarget
from mutx_infra.errors import OutsideError, RefusedError
from mutx_infra.joining import FixedTailnet, JoinDocument, Joining, JoinReport, TailnetPass
from tests.support.hosts import MemoryKnownHosts, a_host
from tests.support.registry import HandClock

KEY = "ssh-ed25519 " + "A" * 68
OTHER_KEY = "ssh-ed25519 " + "B" * 68


def a_report(host: HostTarget, **fields: object) -> JoinReport:
    given = {"tenant": host.tenant, "host": host.key, "instance": host.instance, "host_key": KEY, **fields}
    return JoinReport.model_validate(given)


@dataclass
class MemoryMailbox:
    """`JoinMailbox`: hosts answer as soon as they are told, unless a test says otherwise."""

    answer: Callable[[HostTarget], JoinReport | None] = a_report
    documents: list[JoinDocument] = field(default_factory=list)
    reports: dict[str, JoinReport] = field(default_factory=dict)

    def deliver(self, host: HostTarget, document: JoinDocument) -> None:
        self.documents.append(document)
        self.reports.pop(host.name, None)
        if (found := self.answer(host)) is not None:
            self.reports[host.name] = found

    def report(self, host: HostTarget) -> JoinReport | None:
        return self.reports.get(host.name)

    def clear(self, host: HostTarget) -> None:
        self.reports.pop(host.name, None)


def a_joining(mailbox: MemoryMailbox, known: MemoryKnownHosts | None = None) -> Joining:
    tailnet = FixedTailnet(IPv4Network("100.64.0.0/10"))
    return Joining(mailbox, tailnet, known or MemoryKnownHosts(), ("ssh-ed25519 CA",), HandClock())


class StrictTailnet(FixedTailnet):
    """`TailnetAdmission`: knows no device, and remembers whom it was asked about."""

    asked: ClassVar[list[str]] = []

    def confirm(self, host: HostTarget) -> None:
        self.asked.append(host.name)
        raise OutsideError("not seen", code="device-not-seen", remedy="look")


def test_a_host_that_the_tailnet_does_not_know_is_not_taken_for_joined() -> None:
    known, tailnet = MemoryKnownHosts(), StrictTailnet(IPv4Network("100.64.0.0/10"))
    joining = Joining(MemoryMailbox(), tailnet, known, ("ssh-ed25519 CA",), HandClock())

    with pytest.raises(OutsideError) as caught:
        joining.bring_in([a_host()], 10)

    assert (caught.value.code, tailnet.asked) == ("device-not-seen", ["acme-agent-1"])
    assert known.read("acme") == {}
    # One that stands in the VPC alone is nobody's device.
    assert joining.bring_in([a_host("database-1", on_tailnet=False)], 10)


def test_a_host_that_answers_is_known_by_its_key() -> None:
    mailbox, known, host = MemoryMailbox(), MemoryKnownHosts(), a_host()

    assert a_joining(mailbox, known).bring_in([host], 10) == (host,)

    assert known.read("acme") == {"acme-agent-1": HostKey(instance="i-1", public=KEY)}


def test_the_document_names_the_authority_and_this_tenants_principal_alone() -> None:
    mailbox = MemoryMailbox()

    a_joining(mailbox).bring_in([a_host()], 10)

    (document,) = mailbox.documents
    assert document.ssh_authorities == ("ssh-ed25519 CA",)
    assert document.principals == ("converge@acme",)
    assert document.hostname == "acme-agent-1"
    assert document.tailnet is not None
    assert document.tailnet.addresses == ("100.64.1.4/10", "fd7a:115c:a1e0::6440:104/48")


def test_a_host_off_the_tailnet_gets_no_pass() -> None:
    mailbox = MemoryMailbox()

    a_joining(mailbox).bring_in([a_host("database-1", on_tailnet=False)], 10)

    assert mailbox.documents[0].tailnet is None


def test_every_document_has_a_key_of_its_own() -> None:
    mailbox = MemoryMailbox()

    a_joining(mailbox).bring_in([a_host("agent-1"), a_host("agent-2")], 10)

    passes = [document.tailnet for document in mailbox.documents]
    assert len({found.auth_key.get_secret_value() for found in passes if found is not None}) == 2


def test_a_key_is_shown_to_the_mailbox_only() -> None:
    document = JoinDocument(
        tenant="acme", host="agent-1", hostname="acme-agent-1", ssh_authorities=(), principals=(),
        tailnet=TailnetPass(auth_key=SecretStr("hidden-key")),
    )  # fmt: skip

    assert "hidden-key" not in f"{document!r} {document} {document.model_dump_json()}"
    assert json.loads(document.reveal())["tailnet"]["auth_key"] == "hidden-key"


def test_a_host_that_is_known_is_left_alone() -> None:
    mailbox, known = MemoryMailbox(), MemoryKnownHosts()
    a_joining(mailbox, known).bring_in([a_host()], 10)

    assert a_joining(mailbox, known).bring_in([a_host()], 10) == ()
    assert len(mailbox.documents) == 1


def test_a_run_that_was_cut_off_takes_up_an_answer_without_minting_again() -> None:
    mailbox, host = MemoryMailbox(), a_host()
    mailbox.reports[host.name] = a_report(host)

    a_joining(mailbox).bring_in([host], 10)

    assert mailbox.documents == []


def test_a_replaced_instance_joins_anew_and_gets_a_new_key() -> None:
    mailbox, known = MemoryMailbox(), MemoryKnownHosts()
    a_joining(mailbox, known).bring_in([a_host()], 10)
    mailbox.answer = lambda host: a_report(host, host_key=OTHER_KEY)

    a_joining(mailbox, known).bring_in([a_host(instance="i-2")], 10)

    assert known.read("acme")["acme-agent-1"] == HostKey(instance="i-2", public=OTHER_KEY)


def test_those_that_do_not_answer_are_named_and_the_others_are_known() -> None:
    mailbox, known = MemoryMailbox(), MemoryKnownHosts()
    mailbox.answer = lambda host: None if host.key == "agent-2" else a_report(host)

    with pytest.raises(OutsideError, match=r"^acme-agent-2 did not join within 10 s") as caught:
        a_joining(mailbox, known).bring_in([a_host("agent-1"), a_host("agent-2")], 10)

    assert caught.value.code == "hosts-not-joined"
    assert set(known.read("acme")) == {"acme-agent-1"}


def test_the_report_of_another_host_is_not_taken() -> None:
    mailbox, known = MemoryMailbox(), MemoryKnownHosts()
    mailbox.answer = lambda host: a_report(host).model_copy(update={"host": "agent-9"})

    with pytest.raises(RefusedError) as caught:
        a_joining(mailbox, known).bring_in([a_host()], 10)

    assert caught.value.code == "join-report-foreign"
    assert known.read("acme") == {}


def test_hosts_that_are_gone_are_forgotten() -> None:
    mailbox, known, kept = MemoryMailbox(), MemoryKnownHosts(), a_host("agent-2")
    joining = a_joining(mailbox, known)
    joining.bring_in([a_host(), kept], 10)

    joining.forget([a_host()])

    assert set(known.read("acme")) == {kept.name}
    assert set(mailbox.reports) == {kept.name}


@pytest.mark.parametrize(
    "key",
    ["ssh-ed25519 short", f"{KEY}\nacme-agent-2 {KEY}", f"{KEY} comment", f"{KEY}\n", "ssh-rsa " + "A" * 68],
)
def test_a_report_with_anything_but_a_key_is_no_report(key: str) -> None:
    with pytest.raises(ValidationError):
        a_report(a_host(), host_key=key)
