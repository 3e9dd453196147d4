"""Random policies and nodes that they are about, small enough that everything meets everything."""

from __future__ import annotations

import json
from ipaddress import ip_address

from hypothesis import strategies as st

from mutx_infra.tailnet.evaluation import Identity
from mutx_infra.tailnet.policy import Policy, read_policy

TAGS = ("tag:a", "tag:b", "tag:c")
USERS = ("ann@x.example", "bob@x.example", "eve@y.example")
GROUPS = {"group:one": [USERS[0]], "group:two": [USERS[0], USERS[1]], "group:none": []}
NETS = ("100.64.0.0/29", "100.64.0.9", "home")
HOSTS = {"home": "100.64.0.16/30"}
SELECTORS = ("*", "autogroup:member", "autogroup:tagged", "user:*@x.example", *TAGS, *USERS, *GROUPS, *NETS)
ENTRIES = ("*", "443", "80-90", "tcp:443", "udp:53", "tcp:*", "icmp:*", "47:*")

SELF = "autogroup:self"
OF_PEOPLE = ("autogroup:member", "user:*@x.example", *USERS, *GROUPS)
"""What may reach its own devices."""


def _some(selectors: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(selectors), min_size=1, max_size=3)


_openings = st.lists(st.sampled_from(ENTRIES), min_size=1, max_size=2)
grants = st.one_of(
    st.fixed_dictionaries({"src": _some(SELECTORS), "dst": _some(SELECTORS), "ip": _openings}),
    st.fixed_dictionaries({"src": _some(OF_PEOPLE), "dst": _some((*SELECTORS, SELF)), "ip": _openings}),
)
nodes = st.builds(
    lambda tags, user, last: Identity(
        user="" if tags else user, tags=tuple(tags), addresses=(ip_address(f"100.64.0.{last}"),)
    ),
    st.lists(st.sampled_from(TAGS), max_size=2, unique=True), st.sampled_from(USERS), st.integers(0, 31),
)  # fmt: skip


def a_document(some: list[dict[str, list[str]]], **more: object) -> dict[str, object]:
    owners = {tag: ["autogroup:admin"] for tag in TAGS}
    return {"groups": GROUPS, "hosts": HOSTS, "tagOwners": owners, "grants": some, **more}


def a_policy(some: list[dict[str, list[str]]], **more: object) -> Policy:
    return read_policy(json.dumps(a_document(some, **more)))
