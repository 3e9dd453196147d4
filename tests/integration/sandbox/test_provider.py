"""What holds for the provider as a whole: configuration, tenancy, refusals, secrets, names, waiting."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import grpc
import pytest
from mutx_sandbox.bridge.values import UNKNOWN, decode, has_unknown
from pulumi.runtime.proto import provider_pb2 as pb

from tests.integration.sandbox.cases import TAGS, trust
from tests.integration.sandbox.engine_client import CheckFailedError, Engine, pack, secret, urn

pytestmark = pytest.mark.integration

VPC = "aws:ec2/vpc:Vpc"
TABLE = "aws:ec2/routeTable:RouteTable"
ACL = "aws:ec2/networkAcl:NetworkAcl"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
ADDRESS = "aws:ec2/eip:Eip"
LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
ROLE = "aws:iam/role:Role"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
IDENTITY = "aws:index/getCallerIdentity:getCallerIdentity"


def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), str(caught.value.details())


@pytest.fixture
def vpc(aws: Engine) -> str:
    return aws.create(VPC, cidrBlock="10.0.0.0/16").id


# -- configuration and tenancy


def test_two_engines_with_different_regions_share_one_port(engine_of, boto):
    west, north = engine_of(region="eu-west-1"), engine_of(region="eu-north-1")

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda engine: engine.create(VPC, cidrBlock="10.0.0.0/16"), [west, north] * 8))

    for resource, region in zip(made, ["eu-west-1", "eu-north-1"] * 8, strict=True):
        assert resource.outputs["region"] == region
        assert boto("ec2", region).describe_vpcs(VpcIds=[resource.id])["Vpcs"]


def test_a_connection_that_was_not_configured_is_refused(engine_of):
    stranger = engine_of(configure=False)

    code, message = refusal(lambda: stranger.create(VPC, cidrBlock="10.0.0.0/16"))

    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "not configured" in message


def test_a_new_engine_on_an_old_connection_starts_unconfigured(aws):
    aws.stub.Handshake(pb.ProviderHandshakeRequest(engine_address="127.0.0.1:1"))

    assert refusal(lambda: aws.invoke(IDENTITY))[0] is grpc.StatusCode.FAILED_PRECONDITION


def test_another_account_than_the_allowed_ones_is_refused(engine_of):
    code, message = refusal(lambda: engine_of(allowedAccountIds=json.dumps(["999999999999"])))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "aws:allowedAccountIds: AWS account 123456789012 is not allowed" in message


def test_the_allowed_account_is_let_in(engine_of):
    assert (
        engine_of(allowedAccountIds=json.dumps(["123456789012"])).invoke(IDENTITY)["accountId"]
        == "123456789012"
    )


def test_an_assumed_role_is_refused_rather_than_ignored(engine_of):
    roles = json.dumps([{"roleArn": "arn:aws:iam::111111111111:role/tenant"}])

    assert "aws:assumeRoles" in refusal(lambda: engine_of(assumeRoles=roles))[1]


def test_providers_of_several_accounts_keep_apart_on_one_port(engine_of):
    """An engine opens a connection for each provider; what one has assumed is no other's."""
    archive = "310987654321"
    entered = json.dumps(
        [{"roleArn": f"arn:aws:iam::{archive}:role/mutx-deploy", "externalId": "mutx-sandbox"}]
    )
    home, other = engine_of(), engine_of(assumeRoles=entered, allowedAccountIds=json.dumps([archive]))

    for engine in (home, other, home, other):
        account = engine.invoke(IDENTITY)["accountId"]
        assert account == (archive if engine is other else "123456789012")

    made = [engine.create("aws:kms/key:Key") for engine in (home, other)]
    assert [key.outputs["arn"].split(":")[4] for key in made] == ["123456789012", archive]


def test_an_account_that_is_not_allowed_is_refused_after_its_role_was_entered(engine_of):
    entered = json.dumps(
        [{"roleArn": "arn:aws:iam::310987654321:role/mutx-deploy", "externalId": "mutx-sandbox"}]
    )

    refused = refusal(lambda: engine_of(assumeRoles=entered, allowedAccountIds=json.dumps(["123456789012"])))

    assert "310987654321 is not allowed" in refused[1]


def test_a_setting_that_it_does_not_know_is_refused_by_name(engine_of):
    assert "aws:useFipsEndpoint" in refusal(lambda: engine_of(useFipsEndpoint="true"))[1]


def test_configuration_without_credentials_is_refused(engine_of):
    assert "no credentials" in refusal(lambda: engine_of(accessKey=None, secretKey=None))[1]


def test_credentials_come_from_a_shared_file(engine_of, tmp_path):
    file = tmp_path / "credentials"
    file.write_text("[tenant]\naws_access_key_id = a\naws_secret_access_key = b\n")

    engine = engine_of(
        accessKey=None, secretKey=None, profile="tenant", sharedCredentialsFiles=json.dumps([str(file)])
    )

    assert engine.invoke(IDENTITY)["accountId"] == "123456789012"


def test_a_region_of_a_single_resource_overrides_the_providers(aws, boto):
    made = aws.create(VPC, cidrBlock="10.0.0.0/16", region="eu-central-1")

    assert made.outputs["arn"].startswith("arn:aws:ec2:eu-central-1:123456789012:vpc/")
    assert boto("ec2", "eu-central-1").describe_vpcs(VpcIds=[made.id])["Vpcs"]
    assert aws.read(made).outputs == made.outputs


def test_default_tags_reach_every_resource_and_the_own_ones_win(engine_of):
    engine = engine_of(defaultTags=json.dumps({"tags": {"Name": "default", "team": "infra"}}))

    made = engine.create(VPC, cidrBlock="10.0.0.0/16", tags={"Name": "own"})

    assert made.outputs["tagsAll"] == {"Name": "own", "team": "infra"}
    assert not engine.diff(made, cidrBlock="10.0.0.0/16", tags={"Name": "own"})[0].changed


# -- refusals


def test_an_unknown_type_is_refused_by_name(aws):
    code, message = refusal(lambda: aws.create("aws:sqs/queue:Queue"))

    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert "aws:sqs/queue:Queue" in message


def test_an_unknown_function_is_refused_by_name(aws):
    assert "aws:ec2/getAmi:getAmi" in refusal(lambda: aws.invoke("aws:ec2/getAmi:getAmi"))[1]


def test_an_unknown_argument_of_a_function_is_refused_by_name(aws):
    message = refusal(lambda: aws.invoke("aws:index/getRegion:getRegion", colour="red"))[1]

    assert "aws:index/getRegion:getRegion.colour" in message


@pytest.mark.parametrize(
    ("token", "inputs", "name", "words"),
    [
        (VPC, {"cidrBlock": "10.0.0.0/16", "ipv4IpamPoolId": "p"}, "ipv4IpamPoolId", "not in its table"),
        (GROUP, {"vpcId": "vpc-1", "ingress": []}, "ingress", "SecurityGroupIngressRule"),
        (ACL, {"vpcId": "vpc-1", "egress": [{}]}, "egress", "NetworkAclRule"),
        (TABLE, {"vpcId": "vpc-1", "routes": []}, "routes", "aws:ec2/route:Route"),
        (TABLE, {}, "vpcId", "Missing required property 'vpcId'"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "enableDnsSupport": "perhaps"}, "enableDnsSupport", "boolean"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "tags": "acme"}, "tags", "map"),
        (LOG_GROUP, {"name": "x", "retentionInDays": "month"}, "retentionInDays", "integer"),
        (INGRESS, {"securityGroupId": "sg-1", "ipProtocol": "tcp"}, "cidrIpv4", "exactly one"),
        (
            "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
            {"vpcId": "vpc-1", "ingress": [{"protocol": "-1"}]},
            "ingress",
            "only be emptied",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and ":" in value else None,
)
def test_inputs_that_it_cannot_honour_fail_the_check(aws, token, inputs, name, words):
    with pytest.raises(CheckFailedError) as caught:
        aws.check(token, "r", inputs)

    assert words in caught.value.failures[name]


def test_text_that_says_a_number_or_truth_value_is_taken_as_one(aws):
    checked = aws.check(VPC, "r", {"cidrBlock": "10.0.0.0/16", "enableDnsHostnames": "true"})

    assert checked["enableDnsHostnames"] is True


# -- secrets and unknowns


def test_a_secret_input_stays_secret_in_every_answer(aws):
    name = f"hidden-{uuid4().hex[:8]}"
    trusted = trust("ec2")
    checked = aws.stub.Check(
        pb.CheckRequest(
            urn=urn(ROLE, "r"),
            randomSeed=b"x",
            news=pack({"name": secret(name), "assumeRolePolicy": trusted}),
        )
    ).inputs
    created = aws.stub.Create(pb.CreateRequest(urn=urn(ROLE, "r"), properties=checked))
    read = aws.stub.Read(
        pb.ReadRequest(urn=urn(ROLE, "r"), id=created.id, properties=created.properties, inputs=checked)
    )

    for message in (checked, created.properties, read.properties, read.inputs):
        assert "name" in decode(message)[1].keys
    # The ARN is made of the name, so it says it.
    assert {"name", "arn"} <= decode(created.properties)[1].keys
    assert {"name", "arn"} <= decode(read.properties)[1].keys
    assert "assumeRolePolicy" not in decode(read.properties)[1].keys


def test_a_secret_tag_makes_all_tags_secret_and_nothing_else(aws):
    inputs = pack({"cidrBlock": "10.0.0.0/16", "tags": {"Name": "a", "key": secret("hunter22")}})

    created = aws.stub.Create(pb.CreateRequest(urn=urn(VPC, "r"), properties=inputs))

    assert decode(created.properties)[1].keys == {"tags", "tagsAll"}


def test_an_unknown_input_leaves_dependent_outputs_unknown(aws):
    planned = aws.create(TABLE, preview=True, vpcId=UNKNOWN, tags={"Name": UNKNOWN})

    assert has_unknown(planned.outputs["vpcId"])
    assert has_unknown(planned.outputs["arn"])
    assert has_unknown(planned.outputs["tagsAll"])


def test_a_replacing_property_that_is_not_known_yet_is_planned_as_a_replacement(aws, vpc):
    made = aws.create(TABLE, vpcId=vpc)

    assert aws.diff(made, vpcId=UNKNOWN)[0].replaces == ["vpcId"]


# -- differences


def test_policies_are_compared_by_meaning_not_by_spelling(aws):
    role = aws.create(ROLE, name=f"r-{uuid4().hex[:8]}", assumeRolePolicy=trust("ec2"))
    respelled = json.dumps(json.loads(trust("ec2")), indent=4, sort_keys=True)

    assert not aws.diff(role, name=role.inputs["name"], assumeRolePolicy=respelled)[0].changed


def test_a_policy_may_be_given_as_an_object(aws):
    checked = aws.check(ROLE, "r", {"name": "x", "assumeRolePolicy": json.loads(trust("ec2"))})

    assert json.loads(checked["assumeRolePolicy"]) == json.loads(trust("ec2"))


def test_protocols_by_name_and_number_are_the_same(aws, vpc):
    acl = aws.create(ACL, vpcId=vpc)
    rule = {"networkAclId": acl.id, "ruleNumber": 1, "ruleAction": "allow", "cidrBlock": "10.0.0.0/8"}
    made = aws.create("aws:ec2/networkAclRule:NetworkAclRule", protocol="tcp", fromPort=1, toPort=1, **rule)

    assert not aws.diff(made, protocol="6", fromPort=1, toPort=1, **rule)[0].changed


def test_each_changed_tag_is_named_and_keys_with_colons_are_quoted(aws):
    made = aws.create(VPC, cidrBlock="10.0.0.0/16", tags=TAGS)

    found, _ = aws.diff(
        made, cidrBlock="10.0.0.0/16", tags={"Name": "acme", "mutx:tenant": "globex", "new": "x"}
    )

    assert found.kinds == {'tags["mutx:tenant"]': "UPDATE", "tags.new": "ADD"}


def test_ignored_properties_make_no_difference(aws):
    made = aws.create(VPC, cidrBlock="10.0.0.0/16", enableDnsHostnames=True, tags=TAGS)
    changed = {"cidrBlock": "10.0.0.0/16", "enableDnsHostnames": False, "tags": {**TAGS, "Name": "other"}}

    assert set(aws.diff(made, ignore=("tags.Name",), **changed)[0].kinds) == {"enableDnsHostnames"}
    assert not aws.diff(made, ignore=("tags", "enableDnsHostnames"), **changed)[0].changed


def test_a_tag_added_behind_the_back_is_a_difference_also_where_the_program_has_no_tags(aws, ec2):
    made = aws.create(VPC, cidrBlock="10.0.0.0/16")
    ec2.create_tags(Resources=[made.id], Tags=[{"Key": "intruder", "Value": "x"}])

    drifted = aws.read(made)

    assert aws.diff(drifted, cidrBlock="10.0.0.0/16")[0].kinds == {"tags.intruder": "DELETE"}


# -- names


def test_a_name_is_made_from_the_logical_name_and_kept(aws, vpc):
    group = aws.create(GROUP, "agent", vpcId=vpc)

    assert group.inputs["name"].startswith("agent-")
    assert len(group.inputs["name"]) == len("agent-") + 7
    assert not aws.diff(group, vpcId=vpc)[0].changed


def test_a_replacement_of_an_autonamed_group_creates_first(aws, vpc):
    named = aws.create(GROUP, "named", vpcId=vpc, name="named")
    unnamed = aws.create(GROUP, "unnamed", vpcId=vpc)

    assert aws.diff(named, vpcId=vpc, name="named", description="other")[0].deletes_first
    assert not aws.diff(unnamed, vpcId=vpc, description="other")[0].deletes_first


def test_a_name_prefix_is_completed(aws, vpc):
    group = aws.create(GROUP, vpcId=vpc, namePrefix="team-")

    assert group.outputs["name"].startswith("team-")
    assert group.outputs["name"] != "team-"
    assert not aws.diff(group, vpcId=vpc, namePrefix="team-")[0].changed


@pytest.mark.parametrize(
    ("mode", "proposed", "name"), [(0, "chosen", "chosen"), (1, "forced", "forced"), (2, "", None)]
)
def test_the_projects_autonaming_rules_decide(aws, mode, proposed, name):
    options = pb.CheckRequest.AutonamingOptions(mode=mode, proposed_name=proposed)

    answer = aws.stub.Check(
        pb.CheckRequest(urn=urn(LOG_GROUP, "r"), news=pack({}), randomSeed=b"x", autonaming=options)
    )

    if name is None:
        assert [failure.property for failure in answer.failures] == ["name"]
    else:
        assert decode(answer.inputs)[0]["name"] == name


# -- lost answers, waiting and cancelling


def test_equal_creations_whose_answers_are_lost_make_as_many_resources(aws):
    tag = uuid4().hex
    aws.control.set_faults(
        "drop-response:operation=AllocateAddress,every=2", "drop:operation=AllocateAddress,every=3"
    )

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: aws.create(ADDRESS, tags={"Name": tag}), range(8)))

    aws.control.set_faults()
    assert len({address.id for address in made}) == 8


@pytest.mark.parametrize("token", [TABLE, ACL])
def test_what_aws_made_with_the_vpc_is_never_taken_for_a_lost_creation(aws, vpc, token):
    aws.control.set_faults("drop:operation=Create*,times=1")

    made = aws.create(token, vpcId=vpc)

    parent = aws.import_(VPC, vpc)
    assert made.id not in {parent.outputs["mainRouteTableId"], parent.outputs["defaultNetworkAclId"]}


def test_an_error_that_stays_ends_in_a_failure_that_names_the_call(engine_of):
    engine = engine_of(maxRetries="2")
    engine.control.set_faults("500:operation=CreateVpc")

    code, message = refusal(lambda: engine.create(VPC, cidrBlock="10.0.0.0/16"))

    assert code is grpc.StatusCode.UNKNOWN
    assert "CreateVpc: InternalError" in message


def test_a_resource_in_use_is_waited_for(aws, vpc):
    table = aws.create(TABLE, vpcId=vpc)
    parent = aws.import_(VPC, vpc)
    later = threading.Timer(0.4, aws.delete, [table])

    later.start()
    aws.delete(parent)

    later.join()
    assert aws.read(parent) is None


def test_a_resource_that_stays_in_use_fails_in_bounded_time(aws, vpc):
    aws.create(TABLE, vpcId=vpc)
    parent = aws.import_(VPC, vpc)

    assert "DeleteVpc: DependencyViolation" in refusal(lambda: aws.delete(parent, timeout=0.5))[1]


def test_cancelling_ends_the_waiting(aws, vpc):
    aws.create(TABLE, vpcId=vpc)
    parent = aws.import_(VPC, vpc)
    later = threading.Timer(0.3, aws.cancel)

    later.start()
    code, _ = refusal(lambda: aws.delete(parent, timeout=60))

    # Its own answer may come after the other's; a channel that is closed before that ends it badly.
    later.join()
    assert code is grpc.StatusCode.CANCELLED


def test_a_creation_that_stops_half_way_keeps_its_id_and_is_finished_by_the_next_update(engine_of):
    engine = engine_of(maxRetries="0")
    engine.control.set_faults("500:operation=ModifyVpcAttribute")
    wanted = {"cidrBlock": "10.0.0.0/16", "enableDnsHostnames": True}

    with pytest.raises(grpc.RpcError) as caught:
        engine.create(VPC, "half", **wanted)
    engine.control.set_faults()
    half = engine.failed_creation(VPC, "half", caught.value, wanted)

    assert half.id.startswith("vpc-")
    assert engine.diff(half, **wanted)[0].changed
    finished = engine.update(half, **wanted)
    assert finished.outputs["enableDnsHostnames"] is True
    assert not engine.diff(engine.read(finished), **wanted)[0].changed


# -- functions


def test_zones_and_region_are_those_of_the_provider(aws):
    zones = aws.invoke("aws:index/getAvailabilityZones:getAvailabilityZones", state="available")

    assert zones["names"] == ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
    assert aws.invoke("aws:index/getRegion:getRegion")["name"] == "eu-west-1"


def test_the_schema_names_every_type_it_serves(aws):
    schema = json.loads(aws.stub.GetSchema(pb.GetSchemaRequest()).schema)

    assert schema["name"] == "aws"
    assert schema["resources"][VPC]["inputProperties"]["cidrBlock"] == {"type": "string"}
