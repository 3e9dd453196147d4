"""How a host comes in: by its user data, its role and its one parameter, and what is left of that."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from mutx_sandbox.machines.instances import TrialHosts
from mutx_sandbox.machines.machine import BackendName

from mutx_infra.adapters.aws_session import AwsSession
from mutx_infra.bootstrap import load_environment, make_host_ports
from mutx_infra.settings import resolve_settings
from tests.support.machines import Answer, Hosts

OTHER_USER_DATA = b"#!/bin/sh\nmkdir /var/lib/mutx/other-user-data\n"
PARAMETER = "/mutx/trial/hosts/{}/join"


def test_the_parameter_holds_the_hosts_key_and_nothing_secret(hosts: Hosts) -> None:
    ssm = hosts.checkout.aws("ssm")
    key = hosts.answer("trial-1", "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub")

    found = ssm.get_parameter(Name=PARAMETER.format(1), WithDecryption=True)["Parameter"]

    report = json.loads(found["Value"])
    assert (found["Type"], found["Version"]) == ("String", 1), (
        "the document was not deleted before the report"
    )
    assert report["host_key"] == key
    assert set(report) == {"version", "kind", "tenant", "host", "instance", "host_key", "addresses"}
    assert f"trial-1 {key}" in (hosts.files() / "known_hosts").read_text()


def test_the_key_is_nowhere_on_the_host(hosts: Hosts) -> None:
    left = hosts.answer(
        "trial-1",
        "sudo sh -c 'ls -A /run/mutx; grep -rls --exclude-dir=dpkg auth[_]key /etc /var /run /tmp /root'; true",
    )

    assert left == ""


def test_every_host_makes_a_host_key_of_its_own(hosts: Hosts) -> None:
    keys = {line.split()[2] for line in (hosts.files() / "known_hosts").read_text().splitlines()}

    assert len(keys) == 2


def test_user_data_starts_the_unit_of_this_host(hosts: Hosts) -> None:
    units = hosts.answer("trial-2", "systemctl list-units --all --plain --no-legend 'mutx-join@*'")
    marker = hosts.answer("trial-2", "sudo ls /var/lib/mutx")

    assert units.startswith("mutx-join@trial:2.service")
    assert len(units.splitlines()) == 1
    assert f"user-data-{hosts.state('trial-2').machine.instance}" in marker


def test_a_host_acts_as_the_role_of_its_instance(hosts: Hosts) -> None:
    ask = (
        "import botocore.session, json; s = botocore.session.get_session(); "
        "url = json.load(open('/etc/mutx/join.json'))['aws_endpoint']; "
        "print(s.create_client('sts', region_name='eu-west-1', endpoint_url=url).get_caller_identity()['Arn'])"
    )

    arn = hosts.answer("trial-1", f'python3 -c "{ask}"')

    assert arn.endswith(f":assumed-role/mutx-trial-1/{hosts.state('trial-1').machine.instance}")


def test_metadata_is_told_to_who_has_a_token_only(hosts: Hosts) -> None:
    ask = "curl -s -o /dev/null -w '%{http_code}' "
    base = "http://169.254.169.254/latest"
    ttl = "-X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: {}' "

    assert hosts.answer("trial-1", f"{ask} {base}/user-data") == "401"
    assert hosts.answer("trial-1", f"{ask} -H 'X-aws-ec2-metadata-token: made-up' {base}/user-data") == "401"
    assert hosts.answer("trial-1", f"{ask} {ttl.format(0)} {base}/api/token") == "400"
    assert hosts.answer("trial-1", f"{ask} -H 'X-Forwarded-For: a' {ttl.format(5)} {base}/api/token") == "403"
    assert hosts.answer("trial-1", f"{ask} {ttl.format(5)} {base}/api/token") == "200"


def test_the_answer_to_a_token_request_ends_at_the_host(hosts: Hosts) -> None:
    """Somebody behind a host, one hop further, never sees a token: its packets are over before."""
    lines = hosts.answer(
        "trial-1",
        "sudo sh -c 'timeout 5 tcpdump -i eth0 -n -v -c 40 src host 169.254.169.254 2>/dev/null & sleep 1; "
        'for n in 1 2 3; do curl -s -o /dev/null -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 60" '
        "http://169.254.169.254/latest/api/token; done; sleep 1; kill %1; wait' 2>/dev/null; true",
    )

    answers = lines.splitlines()
    assert any("ttl 1," in line for line in answers), lines


def test_another_party_in_the_network_gets_no_metadata(hosts: Hosts) -> None:
    visitor = hosts.visitor("nobody", "trial", "10.63.255.0/24", "10.63.255.200/24")

    done = visitor.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*", "--max-time", "5",
                       "-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60",
                       "http://169.254.169.254/latest/api/token")  # fmt: skip

    assert done.stdout == "404"


def test_hosts_reach_nothing_of_this_machine_but_its_cloud(hosts: Hosts) -> None:
    port = hosts.checkout.json("sandbox", "status")["endpoints"]["aws"].rpartition(":")[2]
    visitor = hosts.visitor("nobody", "trial", "10.63.255.0/24", "10.63.255.200/24")

    assert visitor.knock("169.254.170.23", 80) is Answer.OPEN
    assert visitor.knock("10.63.255.1", int(port)) is Answer.REFUSED
    assert visitor.knock("1.1.1.1", 443) is Answer.NO_WAY


@pytest.fixture
def third(hosts: Hosts) -> Any:
    """An instance that nothing runs yet."""
    profile = hosts.checkout.root / ".mutx/sandbox/environment.yaml"
    trial = TrialHosts(AwsSession(load_environment(profile).aws))
    target = trial.ensure(3)[-1]
    settings = resolve_settings(
        {"MUTX_INFRA_STATE": str(hosts.checkout.root / ".mutx")},
        hosts.checkout.root,
        environment=str(profile),
    )
    yield target, next(trial.machines([target], BackendName.NSPAWN, 512)), make_host_ports(settings).joining
    if target.name in {state.machine.name for state in hosts.machines.states()}:
        hosts.machines.drop(target.name)
    trial.terminate([target])


def test_without_its_user_data_a_host_does_not_join_and_lets_nobody_in(hosts: Hosts, third: Any) -> None:
    target, machine, joining = third
    hosts.checkout.aws("ec2").modify_instance_attribute(
        InstanceId=target.instance, Attribute="userData", Value=base64.b64encode(OTHER_USER_DATA).decode()
    )
    joining.mailbox.deliver(target, joining._document(target))

    hosts.machines.add(machine)

    ran = hosts.folder / target.name / "disk/changes/var/lib/mutx/other-user-data"
    deadline = time.monotonic() + 30
    while not ran.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1)
    assert (
        hosts.checkout.aws("ssm").get_parameter(Name=target_parameter(target))["Parameter"]["Type"]
        == "SecureString"
    )
    assert not (ran.parents[2] / "etc/ssh/mutx_user_ca.pub").exists()
    joining.mailbox.clear(target)


def target_parameter(target: Any) -> str:
    return PARAMETER.format(target.key)
