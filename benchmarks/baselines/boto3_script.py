"""The same tenant by plain boto3, one call after the other: the yardstick for `tenant create` and `destroy`.

Usage: boto3_script.py create|destroy PLAN.json ENDPOINT RECEIPT.json

PLAN.json is what `mutx-infra tenant preview --json` prints, with the policy documents beside it. One rule is one
call, as one rule is one resource of the stack. It keeps no state, compares nothing and cannot be run twice: what it
lacks is what it is measured for.
The receipt holds the ids that `destroy` needs and the number of calls.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3

Plan = dict[str, Any]
Ids = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Create or destroy, and write the receipt."""
    action, plan_file, endpoint, receipt_file = arguments
    content = json.loads(Path(plan_file).read_text(encoding="utf-8"))
    plan: Plan = {**content["plan"], "documents": content["documents"]}
    aws = _Clients(endpoint, plan["region"])
    receipt = Path(receipt_file)
    if action == "create":
        ids = create(aws, plan)
    else:
        ids = json.loads(receipt.read_text(encoding="utf-8"))
        destroy(aws, ids)
    receipt.write_text(json.dumps({**ids, "calls": aws.calls}), encoding="utf-8")
    return 0


class _Clients:
    """Clients of the services, which count their calls."""

    def __init__(self, endpoint: str, region: str) -> None:
        self.calls = 0
        session: Any = boto3.session.Session("test", "test", region_name=region)
        self.ec2 = session.client("ec2", endpoint_url=endpoint)
        self.logs = session.client("logs", endpoint_url=endpoint)
        self.iam = session.client("iam", endpoint_url=endpoint)
        self.kms = session.client("kms", endpoint_url=endpoint)
        for client in (self.ec2, self.logs, self.iam, self.kms):
            client.meta.events.register("before-send", self._count)

    def _count(self, **_: object) -> None:
        self.calls += 1


def create(aws: _Clients, plan: Plan) -> Ids:
    """Make everything in the order of its dependencies; return the ids."""
    vpc = aws.ec2.create_vpc(CidrBlock=plan["block"], **_tags(plan, "vpc", "vpc"))["Vpc"]["VpcId"]
    aws.ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    _empty_default_group(aws, vpc)
    subnets = {s["key"]: _subnet(aws, plan, vpc, s) for s in plan["subnets"]}
    gateway = aws.ec2.create_internet_gateway(**_tags(plan, "internet-gateway", "internet-gateway"))
    gateway_id = gateway["InternetGateway"]["InternetGatewayId"]
    aws.ec2.attach_internet_gateway(InternetGatewayId=gateway_id, VpcId=vpc)
    addresses, nats = _nat_gateways(aws, plan, subnets)
    targets = {"internet-gateway": gateway_id, **nats}
    tables = {t["key"]: _route_table(aws, plan, vpc, t, subnets, targets) for t in plan["route_tables"]}
    s3_tables = [tables[t["key"]] for t in plan["route_tables"] if t["s3_endpoint"]]
    endpoint = aws.ec2.create_vpc_endpoint(
        VpcId=vpc,
        ServiceName=f"com.amazonaws.{plan['region']}.s3",
        RouteTableIds=s3_tables,
        **_tags(plan, "vpc-endpoint", "endpoint-s3"),
    )["VpcEndpoint"]["VpcEndpointId"]
    groups = _security_groups(aws, plan, vpc)
    acls = _network_acls(aws, plan, vpc, subnets)
    keys = _keys(aws, plan)
    boundary = _policy(aws, plan, keys)
    _log_groups(aws, plan, keys)
    return {
        "vpc": vpc, "subnets": [*subnets.values()], "gateway": gateway_id, "addresses": addresses,
        "nats": [*nats.values()], "tables": [*tables.values()], "endpoint": endpoint, "groups": [*groups.values()],
        "acls": acls, "keys": {key: arn.rsplit("/", 1)[-1] for key, arn in keys.items()}, "boundary": boundary,
        "log_groups": [group["name"] for group in plan["log_groups"]], "tenant": plan["tenant"],
        **_flow_log(aws, plan, vpc, boundary), **_hosts(aws, plan, subnets, groups, keys, boundary),
    }  # fmt: skip


def destroy(aws: _Clients, ids: Ids) -> None:
    """Delete in the opposite order; rules, entries, routes and associations go with what holds them."""
    _delete_hosts(aws, ids)
    aws.ec2.delete_flow_logs(FlowLogIds=[ids["flow_log"]])
    aws.iam.delete_role_policy(RoleName=ids["role"], PolicyName="write-flow-logs")
    aws.iam.delete_role(RoleName=ids["role"])
    for group in ids["log_groups"]:
        aws.logs.delete_log_group(logGroupName=group)
    aws.iam.delete_policy(PolicyArn=ids["boundary"])
    for purpose, key in ids["keys"].items():
        aws.kms.delete_alias(AliasName=f"alias/mutx/{ids['tenant']}/{purpose}")
        aws.kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=30)
    aws.ec2.delete_vpc_endpoints(VpcEndpointIds=[ids["endpoint"]])
    for nat in ids["nats"]:
        aws.ec2.delete_nat_gateway(NatGatewayId=nat)
    for address in ids["addresses"]:
        aws.ec2.release_address(AllocationId=address)
    for group in ids["groups"]:
        _remove_rules(aws, group)
    for group in ids["groups"]:
        aws.ec2.delete_security_group(GroupId=group)
    for table in aws.ec2.describe_route_tables(RouteTableIds=ids["tables"])["RouteTables"]:
        for association in table["Associations"]:
            aws.ec2.disassociate_route_table(AssociationId=association["RouteTableAssociationId"])
        aws.ec2.delete_route_table(RouteTableId=table["RouteTableId"])
    _give_subnets_to_default_acl(aws, ids["vpc"])
    for subnet in ids["subnets"]:
        aws.ec2.delete_subnet(SubnetId=subnet)
    for acl in ids["acls"]:
        aws.ec2.delete_network_acl(NetworkAclId=acl)
    aws.ec2.detach_internet_gateway(InternetGatewayId=ids["gateway"], VpcId=ids["vpc"])
    aws.ec2.delete_internet_gateway(InternetGatewayId=ids["gateway"])
    aws.ec2.delete_vpc(VpcId=ids["vpc"])


def _tags(plan: Plan, kind: str, name: str) -> dict[str, Any]:
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": _pairs(plan, name)}]}


def _pairs(plan: Plan, name: str) -> list[dict[str, str]]:
    return [
        {"Key": "mutx:tenant", "Value": plan["tenant"]},
        {"Key": "Name", "Value": f"{plan['tenant']}-{name}"},
    ]


def _subnet(aws: _Clients, plan: Plan, vpc: str, subnet: dict[str, str]) -> str:
    made = aws.ec2.create_subnet(
        VpcId=vpc,
        CidrBlock=subnet["cidr"],
        AvailabilityZone=subnet["zone"],
        **_tags(plan, "subnet", f"subnet-{subnet['key']}"),
    )
    return str(made["Subnet"]["SubnetId"])


def _nat_gateways(aws: _Clients, plan: Plan, subnets: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    addresses, nats = [], {}
    for nat in plan["nat_gateways"]:
        tags = _tags(plan, "elastic-ip", f"address-{nat['key']}")
        address = aws.ec2.allocate_address(Domain="vpc", **tags)["AllocationId"]
        made = aws.ec2.create_nat_gateway(
            SubnetId=subnets[nat["subnet"]], AllocationId=address, **_tags(plan, "natgateway", nat["key"])
        )
        nats[nat["key"]] = made["NatGateway"]["NatGatewayId"]
        addresses.append(address)
    if nats:
        aws.ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[*nats.values()])
    return addresses, nats


def _route_table(
    aws: _Clients,
    plan: Plan,
    vpc: str,
    table: dict[str, Any],
    subnets: dict[str, str],
    targets: dict[str, str],
) -> str:
    made = aws.ec2.create_route_table(VpcId=vpc, **_tags(plan, "route-table", table["key"]))
    identity = str(made["RouteTable"]["RouteTableId"])
    for route in table["routes"]:
        field = "NatGatewayId" if route["target_kind"] == "nat-gateway" else "GatewayId"
        aws.ec2.create_route(
            RouteTableId=identity,
            DestinationCidrBlock=route["destination"],
            **{field: targets[route["target"]]},
        )
    for subnet in table["subnets"]:
        aws.ec2.associate_route_table(RouteTableId=identity, SubnetId=subnets[subnet])
    return identity


def _empty_default_group(aws: _Clients, vpc: str) -> None:
    filters = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": ["default"]}]
    group = aws.ec2.describe_security_groups(Filters=filters)["SecurityGroups"][0]["GroupId"]
    _remove_rules(aws, group)


def _remove_rules(aws: _Clients, group: str) -> None:
    found = aws.ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])
    for is_egress, revoke in (
        (False, aws.ec2.revoke_security_group_ingress),
        (True, aws.ec2.revoke_security_group_egress),
    ):
        rules = [r["SecurityGroupRuleId"] for r in found["SecurityGroupRules"] if r["IsEgress"] is is_egress]
        if rules:
            revoke(GroupId=group, SecurityGroupRuleIds=rules)


def _security_groups(aws: _Clients, plan: Plan, vpc: str) -> dict[str, str]:
    groups: dict[str, str] = {}
    for role in plan["roles"]:
        made = aws.ec2.create_security_group(
            GroupName=f"{plan['tenant']}-sg-{role}",
            Description=f"Hosts of role {role}",
            VpcId=vpc,
            **_tags(plan, "security-group", f"sg-{role}"),
        )
        groups[role] = made["GroupId"]
        _remove_rules(aws, made["GroupId"])
    lists = aws.ec2.describe_prefix_lists()["PrefixLists"]
    s3 = next(p["PrefixListId"] for p in lists if p["PrefixListName"].endswith(".s3"))
    for rule in plan["group_rules"]:
        authorize: Callable[..., object] = (
            aws.ec2.authorize_security_group_ingress
            if rule["direction"] == "ingress"
            else aws.ec2.authorize_security_group_egress
        )
        authorize(
            GroupId=groups[rule["group"]],
            IpPermissions=[_permission(rule, groups, s3)],
            **_tags(plan, "security-group-rule", rule["key"]),
        )
    return groups


def _permission(rule: dict[str, Any], groups: dict[str, str], s3: str) -> dict[str, Any]:
    base = {"IpProtocol": rule["protocol"], "FromPort": rule["port"], "ToPort": rule["port"]}
    reason = {"Description": rule["reason"]}
    if rule["peer_role"]:
        return {**base, "UserIdGroupPairs": [{"GroupId": groups[rule["peer_role"]], **reason}]}
    if rule["peer_endpoint"]:
        return {**base, "PrefixListIds": [{"PrefixListId": s3, **reason}]}
    return {**base, "IpRanges": [{"CidrIp": rule["peer_cidr"], **reason}]}


def _network_acls(aws: _Clients, plan: Plan, vpc: str, subnets: dict[str, str]) -> list[str]:
    acls: dict[str, str] = {}
    for layer in plan["areas"]:
        made = aws.ec2.create_network_acl(VpcId=vpc, **_tags(plan, "network-acl", f"acl-{layer}"))
        acls[layer] = made["NetworkAcl"]["NetworkAclId"]
    for entry in plan["acl_entries"]:
        ports = {"PortRange": {"From": entry["from_port"], "To": entry["to_port"]}}
        protocol = {"tcp": "6", "udp": "17"}.get(entry["protocol"], entry["protocol"])
        aws.ec2.create_network_acl_entry(
            NetworkAclId=acls[entry["layer"]],
            RuleNumber=entry["number"],
            Egress=entry["egress"],
            Protocol=protocol,
            RuleAction=entry["action"],
            CidrBlock=entry["cidr"],
            **(ports if protocol != "-1" else {}),
        )
    found = aws.ec2.describe_network_acls(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["NetworkAcls"]
    held = {a["SubnetId"]: a["NetworkAclAssociationId"] for acl in found for a in acl["Associations"]}
    for subnet in plan["subnets"]:
        aws.ec2.replace_network_acl_association(
            AssociationId=held[subnets[subnet["key"]]], NetworkAclId=acls[subnet["layer"]]
        )
    return [*acls.values()]


def _give_subnets_to_default_acl(aws: _Clients, vpc: str) -> None:
    found = aws.ec2.describe_network_acls(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["NetworkAcls"]
    default = next(acl["NetworkAclId"] for acl in found if acl["IsDefault"])
    for association in (a for acl in found if not acl["IsDefault"] for a in acl["Associations"]):
        aws.ec2.replace_network_acl_association(
            AssociationId=association["NetworkAclAssociationId"], NetworkAclId=default
        )


def _keys(aws: _Clients, plan: Plan) -> dict[str, str]:
    arns = {}
    for key in plan["keys"]:
        purpose = key["purpose"]
        pairs = [*_pairs(plan, f"key-{purpose}"), {"Key": "mutx:purpose", "Value": purpose}]
        made = aws.kms.create_key(
            Description=key["reason"],
            Policy=plan["documents"]["keys"][purpose],
            Tags=[{"TagKey": pair["Key"], "TagValue": pair["Value"]} for pair in pairs],
        )["KeyMetadata"]
        aws.kms.enable_key_rotation(KeyId=made["KeyId"])
        aws.kms.create_alias(AliasName=key["alias"], TargetKeyId=made["KeyId"])
        arns[purpose] = made["Arn"]
    return arns


def _with_key(document: str, keys: dict[str, str]) -> str:
    return document.replace("KEY-PARAMETERS", keys["parameters"])


def _policy(aws: _Clients, plan: Plan, keys: dict[str, str]) -> str:
    made = aws.iam.create_policy(
        PolicyName=f"mutx-{plan['tenant']}-boundary",
        Path=_path(plan),
        PolicyDocument=_with_key(plan["documents"]["boundary"], keys),
        Tags=_pairs(plan, "boundary"),
    )
    return str(made["Policy"]["Arn"])


def _path(plan: Plan) -> str:
    return f"/mutx/{plan['tenant']}/"


def _log_groups(aws: _Clients, plan: Plan, keys: dict[str, str]) -> None:
    for group in plan["log_groups"]:
        aws.logs.create_log_group(
            logGroupName=group["name"],
            kmsKeyId=keys["logs"],
            tags={p["Key"]: p["Value"] for p in _pairs(plan, f"{group['key']}-log-group")},
        )
        aws.logs.put_retention_policy(logGroupName=group["name"], retentionInDays=group["retention_days"])


def _role(aws: _Clients, plan: Plan, name: str, trust: str, grant: tuple[str, str], boundary: str) -> str:
    identity = f"mutx-{plan['tenant']}-{name}"
    made = aws.iam.create_role(
        RoleName=identity,
        Path=_path(plan),
        AssumeRolePolicyDocument=trust,
        PermissionsBoundary=boundary,
        Tags=_pairs(plan, f"role-{name}"),
    )
    aws.iam.put_role_policy(RoleName=identity, PolicyName=grant[0], PolicyDocument=grant[1])
    return str(made["Role"]["Arn"])


def _flow_log(aws: _Clients, plan: Plan, vpc: str, boundary: str) -> Ids:
    documents = plan["documents"]
    grant = ("write-flow-logs", documents["flow_grant"])
    role = _role(aws, plan, "flow-logs", documents["flow_trust"], grant, boundary)
    flow_log = aws.ec2.create_flow_logs(
        ResourceIds=[vpc],
        ResourceType="VPC",
        TrafficType="ALL",
        LogGroupName=f"/mutx/{plan['tenant']}/vpc-flow-logs",
        DeliverLogsPermissionArn=role,
        MaxAggregationInterval=60,
        **_tags(plan, "vpc-flow-log", "flow-log"),
    )["FlowLogIds"][0]
    return {"role": f"mutx-{plan['tenant']}-flow-logs", "flow_log": flow_log}


def _hosts(
    aws: _Clients,
    plan: Plan,
    subnets: dict[str, str],
    groups: dict[str, str],
    keys: dict[str, str],
    boundary: str,
) -> Ids:
    templates: dict[str, str] = {}
    instances, volumes, profiles = [], [], []
    # What has an address of its own comes first.
    for host in sorted(plan["hosts"], key=lambda host: host["address"] is None):
        role, name = host["role"], host["key"]
        if role not in templates:
            templates[role] = _template(aws, plan, host, groups[role], keys)
        identity = f"mutx-{plan['tenant']}-{name}"
        grant = ("join-and-log", _with_key(plan["documents"]["hosts"][name], keys))
        _role(aws, plan, name, plan["documents"]["host_trust"], grant, boundary)
        aws.iam.create_instance_profile(
            InstanceProfileName=identity, Path=_path(plan), Tags=_pairs(plan, f"profile-{name}")
        )
        aws.iam.add_role_to_instance_profile(InstanceProfileName=identity, RoleName=identity)
        tags = [*_pairs(plan, name), {"Key": "mutx:host", "Value": name}]
        made = aws.ec2.run_instances(
            MinCount=1,
            MaxCount=1,
            LaunchTemplate={"LaunchTemplateId": templates[role], "Version": "1"},
            SubnetId=subnets[host["subnet"]],
            **({"PrivateIpAddress": host["address"]} if host["address"] else {}),
            IamInstanceProfile={"Name": identity},
            UserData=plan["documents"]["scripts"][name],
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )["Instances"][0]["InstanceId"]
        instances.append(made)
        profiles.append(identity)
        if host["data_gib"]:
            volumes.append(_data_volume(aws, plan, host, keys, made))
    aws.ec2.get_waiter("instance_running").wait(InstanceIds=instances)
    return {
        "templates": [*templates.values()], "instances": instances, "volumes": volumes, "profiles": profiles,
    }  # fmt: skip


def _template(aws: _Clients, plan: Plan, host: dict[str, Any], group: str, keys: dict[str, str]) -> str:
    root = {
        "Encrypted": True, "KmsKeyId": keys["volumes"], "VolumeSize": host["root_gib"], "VolumeType": "gp3",
        "DeleteOnTermination": True,
    }  # fmt: skip
    made = aws.ec2.create_launch_template(
        LaunchTemplateName=f"mutx-{plan['tenant']}-{host['role']}",
        LaunchTemplateData={
            "ImageId": f"resolve:ssm:{host['image_parameter']}",
            "InstanceType": host["instance_type"],
            "SecurityGroupIds": [group],
            "MetadataOptions": {
                "HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1,
            },
            "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": root}],
            "TagSpecifications": [{"ResourceType": "volume", "Tags": _pairs(plan, host["role"])}],
        },
        **_tags(plan, "launch-template", f"template-{host['role']}"),
    )  # fmt: skip
    return str(made["LaunchTemplate"]["LaunchTemplateId"])


def _data_volume(aws: _Clients, plan: Plan, host: dict[str, Any], keys: dict[str, str], instance: str) -> str:
    made = aws.ec2.create_volume(
        AvailabilityZone=host["zone"],
        Size=host["data_gib"],
        VolumeType="gp3",
        Encrypted=True,
        KmsKeyId=keys[host["data_key"]],
        **_tags(plan, "volume", f"data-{host['key']}"),
    )["VolumeId"]
    aws.ec2.attach_volume(VolumeId=made, InstanceId=instance, Device="/dev/sdf")
    return str(made)


def _delete_hosts(aws: _Clients, ids: Ids) -> None:
    aws.ec2.terminate_instances(InstanceIds=ids["instances"])
    aws.ec2.get_waiter("instance_terminated").wait(InstanceIds=ids["instances"])
    for volume in ids["volumes"]:
        aws.ec2.delete_volume(VolumeId=volume)
    for template in ids["templates"]:
        aws.ec2.delete_launch_template(LaunchTemplateId=template)
    for identity in ids["profiles"]:
        aws.iam.remove_role_from_instance_profile(InstanceProfileName=identity, RoleName=identity)
        aws.iam.delete_instance_profile(InstanceProfileName=identity)
        aws.iam.delete_role_policy(RoleName=identity, PolicyName="join-and-log")
        aws.iam.delete_role(RoleName=identity)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
