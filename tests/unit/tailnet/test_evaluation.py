"""What a policy lets through, against a naive reading of the same policy, and the corners of the format by hand."""

from __future__ import annotations

import json
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutx_infra.errors import RefusedError
from mutx_infra.tailnet.evaluation import Evaluator, Identity
from mutx_infra.tailnet.policy import parse_ip, read_policy
from mutx_infra.tailnet.posture import meets
from tests.support.policies import GROUPS, HOSTS, a_policy, grants, nodes

TCP, UDP, ICMP, GRE = 6, 17, 1, 47


def naive(some: list[dict[str, list[str]]], source: Identity, to: Identity, protocol: int, port: int) -> bool:
    """The format's description, word by word, without an index."""

    def means(selector: str, who: Identity) -> bool:
        plain = {"*": True, "autogroup:tagged": bool(who.tags), "autogroup:member": not who.tags}
        if selector in plain:
            return plain[selector]
        if selector.startswith("tag:"):
            return selector in who.tags
        if selector.startswith("group:"):
            return who.user in GROUPS[selector]
        if selector.startswith("user:*"):
            return who.user.endswith(selector.removeprefix("user:*"))
        if "@" in selector:
            return who.user == selector
        return any(a in ip_network(HOSTS.get(selector, selector)) for a in who.addresses)

    def opens(entry: str) -> bool:
        name, _, ports = entry.rpartition(":")
        numbers = {"": {6, 17, 1, 58}, "tcp": {6}, "udp": {17}, "icmp": {1, 58}, "47": {47}}[name]
        first, _, last = ports.partition("-")
        return protocol in numbers and (
            ports == "*" or protocol in {1, 58} or int(first) <= port <= int(last or first)
        )

    return any(
        any(means(s, source) for s in grant["src"])
        and any(
            (bool(source.user) and source.user == to.user) if d == "autogroup:self" else means(d, to)
            for d in grant["dst"]
        )
        and any(opens(entry) for entry in grant["ip"])
        for grant in some
    )


@given(
    st.lists(grants, max_size=5), nodes, nodes,
    st.sampled_from([TCP, UDP, ICMP, GRE]), st.sampled_from([53, 80, 85, 443]),
)  # fmt: skip
def test_an_answer_is_that_of_the_format_s_description(
    some: list[dict[str, list[str]]], source: Identity, to: Identity, protocol: int, port: int
) -> None:
    answer = Evaluator(a_policy(some)).reach(source, to, protocol, port)

    assert answer.is_open is naive(some, source, to, protocol, port)


@given(st.lists(grants, max_size=4), st.lists(nodes, min_size=1, max_size=4, unique_by=lambda n: n.addresses))
def test_the_filters_let_in_who_is_answered_yes_and_nobody_else(
    some: list[dict[str, list[str]]], every: list[Identity]
) -> None:
    evaluator = Evaluator(a_policy(some))
    filters = evaluator.filters({str(number): node for number, node in enumerate(every)})

    for number, to in enumerate(every):
        for source in every:
            for protocol, port in ((TCP, 443), (UDP, 53), (ICMP, 0), (GRE, 0)):
                let_in = any(
                    source.addresses[0] in rule.sources and rule.ports.holds(protocol, port)
                    for rule in filters[str(number)]
                )
                assert let_in is evaluator.reach(source, to, protocol, port).is_open


GRANT = {"src": ["tag:a"], "dst": ["tag:b"], "ip": ["udp:53"]}
ATTRIBUTES = {"node:os": "linux", "node:tsVersion": "1.102.5", "custom:tier": 3, "custom:managed": True}


class TestTests:
    @pytest.mark.parametrize(
        ("test", "failures"),
        [
            ({"src": "tag:a", "accept": ["tag:b:53"]}, 0),
            ({"src": "tag:a", "deny": ["tag:b:53"]}, 1),
            ({"src": "tag:a", "proto": "tcp", "accept": ["tag:b:53"]}, 1),
            ({"src": "tag:a", "proto": "tcp", "deny": ["tag:b:53"]}, 0),
            ({"src": "tag:b", "deny": ["tag:a:53", "tag:c:53"]}, 0),
            ({"src": "group:none", "accept": ["tag:b:53"]}, 1),
            ({"src": "tag:a", "proto": "17", "accept": ["tag:b:53"]}, 0),
            ({"src": "tag:a", "proto": "6", "accept": ["tag:b:53"]}, 1),
        ],
    )
    def test_without_a_protocol_one_that_opens_is_enough(
        self, test: dict[str, object], failures: int
    ) -> None:
        assert len(Evaluator(a_policy([GRANT], tests=[test])).failed_tests()) == failures

    def test_icmp_opens_no_port(self) -> None:
        grant = {"src": ["tag:a"], "dst": ["tag:b"], "ip": ["80"]}
        tests = [{"src": "tag:a", "accept": ["tag:b:443"]}, {"src": "tag:a", "deny": ["tag:b:443"]}]

        assert len(Evaluator(a_policy([grant], tests=tests)).failed_tests()) == 1

    @pytest.mark.parametrize("target", ["home:53", "100.64.0.16/30:53", "100.64.0.16/32:53"])
    @pytest.mark.parametrize("asks", ["accept", "deny"])
    def test_a_network_is_no_destination(self, target: str, asks: str) -> None:
        grant = {"src": ["tag:a"], "dst": ["home"], "ip": ["udp:53"]}

        (said,) = Evaluator(a_policy([grant], tests=[{"src": "tag:a", asks: [target]}])).failed_tests()

        assert "is a network" in said

    def test_a_person_s_own_devices_are_one_destination(self) -> None:
        grant = {"src": ["ann@x.example"], "dst": ["autogroup:self"], "ip": ["tcp:22"]}
        tests = [
            {"src": "ann@x.example", "accept": ["autogroup:self:22"]},
            {"src": "ann@x.example", "deny": ["autogroup:self:22"]},
            {"src": "tag:a", "accept": ["autogroup:self:22"]},
        ]

        said = Evaluator(a_policy([grant], tests=tests)).failed_tests()

        assert [line.partition(":")[0] for line in said] == ["tests[1]", "tests[2]"]

    def test_a_test_that_asks_nothing_fails(self) -> None:
        assert len(Evaluator(a_policy([GRANT], tests=[{"src": "tag:a"}])).failed_tests()) == 1

    def test_what_failed_is_said(self) -> None:
        policy = a_policy([GRANT], tests=[{"src": "tag:a", "deny": ["tag:b:53"]}])

        assert Evaluator(policy).failed_tests() == ("tests[0]: tag:b:53 is reached by tag:a",)

    def test_attributes_are_those_of_the_source_s_device(self) -> None:
        policy = a_policy(
            [{**GRANT, "srcPosture": ["posture:p"]}],
            postures={"posture:p": ["node:os == 'linux'"]},
            tests=[
                {"src": "tag:a", "accept": ["tag:b:53"], "srcPostureAttrs": {"node:os": "linux"}},
                {"src": "tag:a", "deny": ["tag:b:53"], "srcPostureAttrs": {"node:os": "ios"}},
                {"src": "tag:a", "deny": ["tag:b:53"]},
            ],
        )

        assert Evaluator(policy).failed_tests() == ()


class TestReading:
    def test_an_older_acl_is_a_grant(self) -> None:
        rule = {"action": "accept", "src": ["tag:a"], "proto": "tcp", "dst": ["tag:b:80,443", "tag:c:80,443"]}
        policy = a_policy([], acls=[rule])
        (grant,) = policy.grants

        assert grant.destinations == ("tag:b", "tag:c")
        assert grant.ip == ("tcp:80", "tcp:443")

    def test_an_older_entry_with_several_lists_of_ports_is_a_grant_for_each(self) -> None:
        acls = [{"action": "accept", "src": ["tag:a"], "dst": ["tag:b:22", "tag:c:80,90-91", "tag:a:22"]}]

        policy = a_policy([], acls=acls)

        assert [(grant.destinations, grant.ip) for grant in policy.grants] == [
            (("tag:b", "tag:a"), ("22",)),
            (("tag:c",), ("80", "90-91")),
        ]

    @pytest.mark.parametrize(
        ("some", "more", "code", "said"),
        [
            ([{"src": ["tag:x"], "dst": ["*"], "ip": ["*"]}], {}, "invalid", "tag:x is not defined"),
            ([{"src": ["group:x"], "dst": ["*"], "ip": ["*"]}], {}, "invalid", "group:x is not defined"),
            ([{"src": ["*"], "dst": ["nowhere"], "ip": ["*"]}], {}, "invalid", "nowhere is not defined"),
            ([{"src": ["*"], "dst": ["*"], "ip": ["tcp:90-80"]}], {}, "invalid", "no range"),
            ([{"src": ["*"], "dst": ["*"], "ip": ["tcp:70000"]}], {}, "invalid", "no range"),
            ([{"src": ["*"], "dst": ["*"], "ip": ["smtp:25"]}], {}, "invalid", "no protocol smtp"),
            ([{"src": ["*"], "dst": ["*"], "ip": ["tcp:0"]}], {}, "invalid", "no range"),
            ([{"src": ["*"], "dst": ["*"], "ip": []}], {}, "invalid", "neither ip nor app"),
            ([{"src": ["*"], "dst": ["0.0.0.0/0"], "ip": ["*"]}], {}, "invalid", "0.0.0.0/0 is no destination"),
            ([{"src": ["*"], "dst": ["autogroup:danger-all"], "ip": ["*"]}], {}, "invalid", "is no destination"),
            ([{"src": ["autogroup:self"], "dst": ["*"], "ip": ["*"]}], {}, "invalid", "autogroup:self is no source"),
            ([{"src": ["tag:a"], "dst": ["autogroup:self"], "ip": ["*"]}], {}, "invalid", "not for tag:a"),
            ([{"src": ["*"], "dst": ["autogroup:self"], "ip": ["*"]}], {}, "invalid", "not for *"),
            ([], {"tests": [{"src": "tag:a", "proto": "smtp", "deny": ["tag:b:1"]}]}, "invalid", "no protocol smtp"),
            ([{"src": ["*"], "dst": ["*"], "ip": ["tcp:"]}], {}, "invalid", "no protocol and port"),
            ([{"src": "*", "dst": ["*"], "ip": ["*"]}], {}, "invalid", "a list of strings"),
            ([{"src": ["*"], "dst": ["*"], "ip": ["*"], "srcPosture": ["posture:p"]}], {}, "invalid", "posture:p"),
            ([{"src": ["*"], "dst": ["*"], "ip": ["*"], "via": ["tag:a"]}], {}, "unsupported", "via in grants[0]"),
            ([{"src": ["autogroup:owner"], "dst": ["*"], "ip": ["*"]}], {}, "unsupported", "autogroup:owner"),
            ([{"src": ["*"], "dst": ["*"], "ip": ["*"], "when": "night"}], {}, "unsupported", "when in grants[0]"),
            ([], {"newSection": {}}, "unsupported", "newSection"),
            ([], {"groups": {"one": []}}, "invalid", "does not begin with group:"),
            ([], {"acls": [{"action": "deny"}]}, "invalid", "the only action"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_read_is_named_never_guessed(
        self, some: list[dict[str, list[str]]], more: dict[str, object], code: str, said: str
    ) -> None:
        with pytest.raises(RefusedError) as caught:
            a_policy(some, **more)

        assert caught.value.code == f"tailnet-policy-{code}"
        assert said in caught.value.message + caught.value.detail

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "{} // and more"])
    def test_what_is_no_json_object_is_refused(self, text: str) -> None:
        with pytest.raises(RefusedError):
            read_policy(text)

    def test_sections_that_decide_nothing_here_stay_as_they_are(self) -> None:
        policy = a_policy([], nodeAttrs=[{"target": ["*"], "attr": ["funnel"]}], randomizeClientPort=True)

        assert policy.document()["nodeAttrs"] == [{"target": ["*"], "attr": ["funnel"]}]
        assert json.loads(policy.text())["randomizeClientPort"] is True

    @given(st.text(max_size=12))
    def test_any_text_as_ip_is_read_or_refused(self, entry: str) -> None:
        try:
            found = parse_ip(entry)
        except RefusedError:
            return
        assert 0 <= found.first <= found.last <= 65535


class TestPosture:
    @pytest.mark.parametrize(
        ("term", "held"),
        [
            ("node:os == 'linux'", True),
            ("node:os != 'linux'", False),
            ("node:os IN ['macos', 'linux']", True),
            ("node:os NOT IN ['macos']", True),
            ("node:tsVersion >= '1.98.0'", True),
            ("node:tsVersion < '1.9'", False),
            ("custom:tier > 2", True),
            ("custom:managed == true", True),
            ("custom:absent == 'x'", False),
            ("custom:absent != 'x'", True),
            ("custom:absent NOT SET", True),
            ("node:os IS SET", True),
        ],
    )
    def test_a_term_is_held_against_the_device(self, term: str, held: bool) -> None:
        assert meets([term], ATTRIBUTES) is held

    def test_every_term_must_hold(self) -> None:
        assert not meets(["node:os == 'linux'", "custom:tier > 5"], ATTRIBUTES)
        assert meets([], ATTRIBUTES)

    @pytest.mark.parametrize(
        "term",
        ["", "node:os", "node:os = 'x'", "node:os == x", "node:os IN 'x'", "node:os == ['x']", "a IS SET b"],
    )
    def test_what_cannot_be_read_is_refused(self, term: str) -> None:
        with pytest.raises(RefusedError, match="cannot be read"):
            meets([term], ATTRIBUTES)
