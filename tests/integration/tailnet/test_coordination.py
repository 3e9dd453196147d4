"""The coordination server beside the vendor's client, our reader and our evaluator: each finds what the others do."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from get_tailnet import MODULE, programs
from go_build import go_variables
from hypothesis import given
from hypothesis import strategies as st
from places import with_home

from mutx_infra.adapters.tailscale_api import TailscaleApi
from mutx_infra.adapters.tailscale_login import API_KEY as API
from mutx_infra.adapters.tailscale_login import CLIENT_ID as CLIENT
from mutx_infra.adapters.tailscale_login import CLIENT_SECRET as SECRET
from mutx_infra.adapters.tailscale_login import IDENTITY_TOKEN as IDENTITY
from mutx_infra.environment_tailnet import Tailnet
from mutx_infra.errors import RefusedError
from mutx_infra.tailnet.composition import Member, Platform, compose
from mutx_infra.tailnet.difference import compare
from mutx_infra.tailnet.evaluation import Evaluator, Identity
from mutx_infra.tailnet.policy import UNSAID, read_policy
from tests.support.policies import a_document, a_policy, grants, nodes
from tests.support.tailnet import API_KEY, serving_api

ISSUER, SUBJECT = "https://ci.example.com", "repo:mutx"
CREDENTIALS = {
    "api_key": API_KEY,
    "clients": [
        {"id": "k1", "secret": "tskey-client-k1", "scopes": ["policy_file", "devices:core:read", "auth_keys:read"]},
        {"id": "k2", "secret": "tskey-client-k2", "scopes": ["policy_file:read"]},
        {"id": "k3", "issuer": ISSUER, "subject": SUBJECT, "scopes": ["all:read"]},
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Server:
    """A coordination server on loopback."""

    url: str

    def post(self, path: str, content: object) -> Any:
        """Ask as somebody who may do anything."""
        with requests.post(f"{self.url}{path}", json=content, auth=(API_KEY, ""), timeout=10) as answer:
            answer.raise_for_status()
            return answer.json()

    def reader(self, **variables: str) -> TailscaleApi:
        return TailscaleApi(Tailnet(name="mutx.test", api_url=self.url), variables)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_api(tmp_path_factory.mktemp("coordination"), CREDENTIALS) as url:
        yield Server(url)


def identity_token(subject: str = SUBJECT) -> str:
    claims = json.dumps({"iss": ISSUER, "sub": subject, "exp": int(time.time()) + 60})
    return f"e30.{base64.urlsafe_b64encode(claims.encode()).decode().rstrip('=')}.c2ln"


@pytest.mark.timeout(600)
def test_the_vendor_s_client_finds_its_own_api(tmp_path: Path) -> None:
    go = shutil.which("go")
    assert go is not None
    # As it was built, so that no package is compiled again.
    tags = next(program.flags for program in programs() if program.package.endswith("coordination"))[:2]

    done = subprocess.run(
        [go, "test", "-count=1", "-trimpath", "-buildvcs=false", *tags, "./coordination"],
        cwd=MODULE, env=go_variables(with_home(os.environ), tmp_path), capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "variables",
    [
        {API: API_KEY},
        {CLIENT: "k1", SECRET: "tskey-client-k1"},
        {CLIENT: "k3", IDENTITY: "made"},
    ],
    ids=["token", "OAuth client", "federated identity"],
)
def test_each_credential_reads_what_is_live(server: Server, variables: dict[str, str]) -> None:
    given_ = {name: identity_token() if value == "made" else value for name, value in variables.items()}
    minted = server.post(
        "/api/v2/tailnet/-/keys",
        {
            "description": "acme-agent-1", "expirySeconds": 600,
            "capabilities": {"devices": {"create": {"reusable": True}}},
        },
    )  # fmt: skip

    found = server.reader(**given_).read()

    key = next(each for each in found.keys if each.id == minted["id"])
    assert key.expires is not None
    assert key.created is not None
    assert (key.is_reusable, key.is_valid, round((key.expires - key.created).total_seconds())) == (
        True,
        True,
        600,
    )
    assert minted["key"] not in repr(found)
    assert read_policy(found.policy).grants
    assert found.devices == ()


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({API: "tskey-api-other"}, "tailscale-credentials"),
        ({CLIENT: "k1", SECRET: "tskey-client-k2"}, "tailscale-credentials"),
        ({CLIENT: "k3", IDENTITY: identity_token("repo:other")}, "tailscale-credentials"),
        ({CLIENT: "k2", SECRET: "tskey-client-k2"}, "tailscale-denied"),
    ],
)  # fmt: skip
def test_a_credential_that_is_none_or_too_little_is_refused(
    server: Server, variables: dict[str, str], code: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        server.reader(**variables).read()

    assert caught.value.code == code


def test_another_tailnet_is_not_read(server: Server) -> None:
    reader = TailscaleApi(Tailnet(name="other.example", api_url=server.url), {API: API_KEY})

    with pytest.raises(RefusedError) as caught:
        reader.policy()

    assert caught.value.code == "tailnet-unknown"


def test_the_composed_policy_is_taken_and_read_back_as_it_was(server: Server) -> None:
    members = [
        Member(f"t{number:02}", (f"ann@t{number}.example",), (f"bob@t{number}.example",))
        for number in range(12)
    ]
    wanted = compose(members, Platform(("alice@mutx.dev",))).policy

    server.post("/api/v2/tailnet/-/acl", wanted.document())
    live = read_policy(server.reader(**{API: API_KEY}).policy())

    assert compare(live, wanted).is_empty


def rules_of(filters: list[list[dict[str, Any]]]) -> list[set[tuple[str, tuple[int, ...], int, int]]]:
    """The server's filters, one entry for each source, protocols and range of ports."""
    return [
        {
            (source, tuple(rule.get("IPProto") or UNSAID), port["Ports"]["First"], port["Ports"]["Last"])
            for rule in rules
            for source in rule["SrcIPs"]
            for port in rule["DstPorts"]
        }
        for rules in filters
    ]


@given(st.lists(grants, max_size=5), st.lists(nodes, min_size=1, max_size=5, unique_by=lambda n: n.addresses))
def test_every_node_s_filter_is_the_server_s(
    server: Server, some: list[dict[str, list[str]]], every: list[Identity]
) -> None:
    asked = [{"user": n.user, "tags": n.tags, "addresses": list(map(str, n.addresses))} for n in every]

    theirs = rules_of(server.post("/filters", {"policy": a_document(some), "nodes": asked})["filters"])
    ours = Evaluator(a_policy(some)).filters({str(number): node for number, node in enumerate(every)})

    assert theirs == [
        {
            (str(source), rule.ports.protocols, rule.ports.first, rule.ports.last)
            for rule in ours[str(number)]
            for source in rule.sources
        }
        for number in range(len(every))
    ]


WHOM = ("tag:a", "tag:b", "ann@x.example", "home", "100.64.0.9", "autogroup:self")
TARGETS = [f"{who}:{port}" for who in WHOM for port in (53, 80, 443)]
policy_tests = st.fixed_dictionaries(
    {
        "src": st.sampled_from(["tag:a", "tag:c", "ann@x.example", "group:two", "group:none", "home"]),
        "accept": st.lists(st.sampled_from(TARGETS), max_size=2),
        "deny": st.lists(st.sampled_from(TARGETS), max_size=2),
    },
    optional={"proto": st.sampled_from(["tcp", "udp", "icmp", "17"])},
)


@given(st.lists(grants, max_size=5), st.lists(policy_tests, max_size=4))
def test_a_policy_s_own_tests_fail_for_both_or_for_none(
    server: Server, some: list[dict[str, list[str]]], tests: list[dict[str, object]]
) -> None:
    document = a_document(some, tests=tests)

    theirs = server.post("/filters", {"policy": document, "nodes": []})["failures"]
    ours = Evaluator(read_policy(json.dumps(document))).failed_tests()

    assert len(ours) == sum(len(each["errors"]) for each in theirs)
