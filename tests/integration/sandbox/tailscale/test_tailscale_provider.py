"""The stand-in for the tailscale provider on the fake of the API: what an engine asks of it, and what it sends."""

from __future__ import annotations

import logging

import grpc
import pytest
from mutx_sandbox.bridge.values import UNKNOWN, decode, has_unknown
from mutx_sandbox.tailscale.table import TABLE
from pulumi.runtime.proto import provider_pb2 as pb

from tests.integration.sandbox.engine_client import CheckFailedError, pack, urn
from tests.support.tailnet_stack import STACKS, tailnet_stack
from tests.support.tailscale import Reply, answering
from tests.support.tailscale_fake import API_KEY
from tests.support.tailscale_scenarios import (
    ACL,
    CASES,
    EXTERNAL_ID,
    FAILING,
    FOR_ANY_SERVER,
    IDENTITY,
    PREFERENCES,
    SETTINGS,
    STREAM,
    WEBHOOK,
    Server,
    engine_for,
    failure_of,
    goes_through_a_life,
    is_imported,
    policy,
)

pytestmark = pytest.mark.integration

HOOK = CASES["webhook"].inputs
TRUSTED = CASES["federated identity"].inputs


# -- what holds for any server


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_resource_goes_through_its_life(tailscale, server, case):
    goes_through_a_life(tailscale, server, case)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_resource_is_imported_by_its_id(tailscale, server, case):
    is_imported(tailscale, server, case)


@pytest.mark.parametrize("scenario", FOR_ANY_SERVER, ids=lambda scenario: scenario.__name__)
def test_what_holds_for_any_server(tailscale, server, scenario):
    scenario(tailscale, server)


@pytest.mark.parametrize("scenario", STACKS, ids=lambda scenario: scenario.__name__)
def test_a_stack_on_the_real_engine(engine, provider_port, server, tmp_path, scenario):
    scenario(tailnet_stack(engine, tmp_path, provider_port, server), server)


# -- the policy


def test_only_the_creation_asks_for_the_default_policy(tailscale, fake):
    made = tailscale.create(ACL, acl=policy())
    tailscale.update(made, acl=policy(8443))

    written = [headers for route, _, headers in fake.asked if route == "POST tailnet/-/acl"]
    assert [headers.get("If-Match") for headers in written] == ['"ts-default"', None]
    assert {headers["Content-Type"] for headers in written} == {"application/hujson"}


def test_a_policy_is_kept_as_it_is_written(tailscale, server):
    text = "// by the platform — nobody else’s\n" + policy(indent=2)

    made = tailscale.create(ACL, acl=text)

    assert server.policy() == text
    assert made.outputs["acl"] == text


@pytest.mark.parametrize(
    ("other", "differs"),
    [
        (policy(indent=3), False),
        (policy().replace("]}", "],}"), False),
        ("// why\n" + policy(), True),
        (policy(8443), True),
    ],
    ids=["layout", "trailing commas", "a comment", "a port"],
)
def test_policies_are_compared_without_their_layout(tailscale, other, differs):
    made = tailscale.create(ACL, acl=policy())

    assert tailscale.diff(made, acl=other)[0].changed is differs


def test_a_policy_that_is_no_hujson_is_refused_without_asking(tailscale, fake):
    with pytest.raises(CheckFailedError) as caught:
        tailscale.check(ACL, "r", {"acl": '{"grants": [\n{]}'})

    assert "is invalid HuJSON: line 2" in caught.value.failures["acl"]
    assert fake.asked == []


def test_a_policy_that_is_not_known_yet_is_not_judged(tailscale, fake):
    planned = tailscale.create(ACL, preview=True, acl=UNKNOWN)

    assert has_unknown(planned.outputs["acl"])
    assert fake.asked == []


def test_a_policy_whose_tests_fail_is_refused_at_the_update_too(tailscale, fake):
    made = tailscale.create(ACL, acl=policy())

    with pytest.raises(CheckFailedError):
        tailscale.update(made, acl=FAILING)

    assert fake.policy == policy()


# -- what is sent and what is not


def test_settings_that_the_program_does_not_say_are_not_sent(tailscale, fake):
    made = tailscale.create(SETTINGS, devicesApprovalOn=True, devicesKeyDurationDays=30)
    tailscale.update(made, devicesApprovalOn=True, devicesKeyDurationDays=60)

    assert fake.bodies("PATCH tailnet/-/settings") == [
        {"devicesApprovalOn": True, "devicesKeyDurationDays": 30},
        {"devicesKeyDurationDays": 60},
    ]
    assert made.outputs["httpsEnabled"] is False


def test_settings_stay_when_their_resource_is_removed(tailscale, fake):
    made = tailscale.create(SETTINGS, devicesApprovalOn=True)
    before = len(fake.asked)

    tailscale.delete(made)

    assert len(fake.asked) == before
    assert fake.settings["devicesApprovalOn"] is True


def test_removed_dns_preferences_are_off(tailscale, fake):
    tailscale.delete(tailscale.create(PREFERENCES, magicDns=True))

    assert fake.magic_dns is False


def test_an_audience_that_tailscale_chose_stays(tailscale, fake):
    made = tailscale.create(IDENTITY, **TRUSTED)

    updated = tailscale.update(made, **{**TRUSTED, "subject": "repo:mutx/other"})

    assert updated.outputs["audience"] == made.outputs["audience"] == fake.keys[made.id]["audience"]
    assert fake.keys[made.id]["keyType"] == "federated"
    assert made.outputs["updatedAt"] != updated.outputs["updatedAt"]


@pytest.mark.parametrize(
    ("token", "inputs", "changed", "names"),
    [
        (WEBHOOK, HOOK, {"endpointUrl": "https://other.example.com"}, ["endpointUrl"]),
        (WEBHOOK, HOOK, {"providerType": "slack"}, ["providerType"]),
        (STREAM, CASES["log stream"].inputs, {"logType": "network"}, ["logType"]),
    ],
)
def test_what_cannot_be_changed_is_replaced(tailscale, token, inputs, changed, names):
    made = tailscale.create(token, **inputs)

    assert tailscale.diff(made, **{**inputs, **changed})[0].replaces == names


def test_an_external_id_is_not_imported(tailscale):
    assert "cannot be imported" in failure_of(lambda: tailscale.import_(EXTERNAL_ID, "x"))


@pytest.mark.parametrize(
    ("token", "inputs", "name", "words"),
    [
        (STREAM, {"logType": "flow", "destinationType": "s3"}, "logType", 'must be one of: "configuration"'),
        (STREAM, {"logType": "network", "destinationType": "ftp"}, "destinationType", '"splunk"'),
        (WEBHOOK, {**HOOK, "subscriptions": ["nodeEaten"]}, "subscriptions", "nodeEaten"),
        (WEBHOOK, {"endpointUrl": "https://x.example"}, "subscriptions", "Missing required property"),
        (SETTINGS, {"aclsExternalLink": "ftp://x"}, "aclsExternalLink", "http or https"),
        (SETTINGS, {"devicesKeyDurationDays": "long"}, "devicesKeyDurationDays", "integer"),
        (IDENTITY, {**TRUSTED, "issuer": "http://x"}, "issuer", "https:// URL"),
        (IDENTITY, {**TRUSTED, "description": "x" * 51}, "description", "got: 51"),
        (IDENTITY, {**TRUSTED, "customClaimRules": {"sub": "x"}}, "customClaimRules", "reserved"),
        (ACL, {"acl": policy(), "colour": "red"}, "colour", "not in its table"),
    ],
)
def test_inputs_that_it_cannot_honour_fail_the_check(tailscale, token, inputs, name, words):
    with pytest.raises(CheckFailedError) as caught:
        tailscale.check(token, "r", inputs)

    assert words in caught.value.failures[name]


# -- secrets


def test_secrets_are_secret_in_every_answer_whether_the_program_says_so_or_not(tailscale):
    inputs = pack(CASES["log stream"].inputs)
    checked = tailscale.stub.Check(pb.CheckRequest(urn=urn(STREAM, "r"), news=inputs)).inputs
    created = tailscale.stub.Create(pb.CreateRequest(urn=urn(STREAM, "r"), properties=inputs))
    read = tailscale.stub.Read(
        pb.ReadRequest(urn=urn(STREAM, "r"), id=created.id, properties=created.properties, inputs=checked)
    )

    for message in (checked, created.properties, read.properties, read.inputs):
        assert "token" in decode(message)[1].keys
    assert "url" not in decode(created.properties)[1].keys


def test_the_secret_of_a_webhook_is_an_output_that_stays(tailscale, fake):
    answer = tailscale.stub.Create(pb.CreateRequest(urn=urn(WEBHOOK, "r"), properties=pack(HOOK)))
    made = tailscale.create(WEBHOOK, **{**HOOK, "endpointUrl": "https://second.example.com"})
    updated = tailscale.update(made, **{**made.inputs, "subscriptions": ["nodeDeleted"]})

    assert "secret" in decode(answer.properties)[1].keys
    assert made.outputs["secret"] == fake.webhooks[made.id]["secret"]
    assert tailscale.read(updated).outputs["secret"] == made.outputs["secret"]
    assert has_unknown(tailscale.create(WEBHOOK, preview=True, **HOOK).outputs["secret"])


def test_a_secret_that_the_api_repeats_is_in_no_message_and_no_log(caplog):
    caplog.set_level(logging.DEBUG)
    replies = {
        "/api/v2/tailnet/-/logging/configuration/stream": [
            Reply(503, {"message": "busy with hunter22-of-splunk"}),
            Reply(400, {"message": f"the token hunter22-of-splunk is bad for {API_KEY}"}),
        ]
    }
    with answering(replies) as script, engine_for(Server(script.url, API_KEY)) as engine:
        refused = failure_of(lambda: engine.create(STREAM, **CASES["log stream"].inputs))

    assert "the token [secret] is bad for [secret] (400)" in refused
    assert API_KEY not in caplog.text
    assert "hunter22" not in caplog.text


def test_an_unknown_type_and_any_function_are_refused_by_name(tailscale):
    assert "tailscale:index/contacts:Contacts" in failure_of(
        lambda: tailscale.create("tailscale:index/contacts:Contacts")
    )
    assert "tailscale:index/getDevices:getDevices" in failure_of(
        lambda: tailscale.invoke("tailscale:index/getDevices:getDevices")
    )


def test_a_connection_that_was_not_configured_is_refused(engine_of):
    with pytest.raises(grpc.RpcError) as caught:
        engine_of(configure=False).create(PREFERENCES, magicDns=True)

    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("token", TABLE)
def test_the_table_has_what_the_sdk_has(token):
    """Property by property: a name that is spelt otherwise would be refused, one that is missing too."""
    import pulumi_tailscale  # noqa: PLC0415 - takes a second

    kind = getattr(pulumi_tailscale, token.rsplit(":", 1)[1])
    arguments = getattr(pulumi_tailscale, f"{kind.__name__}Args")
    names = {name for name in dir(arguments) if isinstance(getattr(arguments, name), property)}
    outputs = {name for name in dir(kind) if isinstance(getattr(kind, name), property)} - {"id", "urn"}

    snake = {camel_to_snake(name) for name in TABLE[token].properties}
    assert snake == names
    assert {camel_to_snake(name) for name in TABLE[token].outputs} == {
        name for name in outputs - names if not name.startswith("pulumi_")
    }


def camel_to_snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
