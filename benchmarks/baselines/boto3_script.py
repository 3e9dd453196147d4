"""The same network by plain boto3, one call after the other: the yardstick for `tenant create` and `destroy`.

Usage: boto3_script.py create|destroy PLAN.json ENDPOINT RECEIPT.json

PLAN.json is what `mutx-infra tenant preview --json` prints. One rule is one call, as one rule is one resource of
the stack. It keeps no state, compares nothing and cannot be run twice: what it lacks is what it is measured for.
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
    plan: Plan = json.loads(Path(plan_file).read_text(encoding="utf-8"))["plan"]
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
        for client in (self.ec2, self.logs, self.iam):
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
    return {
        "vpc": vpc, "subnets": [*subnets.values()], "gateway": gateway_id, "addresses": addresses,
        "nats": [*nats.values()], "tables": [*tables.values()], "endpoint": endpoint, "groups": groups, "acls": acls,
        **_flow_log(aws, plan, vpc),
    }  # fmt: skip


def destroy(aws: _Clients, ids: Ids) -> None:
    """Delete in the opposite order; rules, entries, routes and associations go with what holds them."""
    aws.ec2.delete_flow_logs(FlowLogIds=[ids["flow_log"]])
    aws.iam.delete_role_policy(RoleName=ids["role"], PolicyName="write-flow-logs")
    aws.iam.delete_role(RoleName=ids["role"])
    aws.logs.delete_log_group(logGroupName=ids["log_group"])
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


def _security_groups(aws: _Clients, plan: Plan, vpc: str) -> list[str]:
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
    return [*groups.values()]


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


def _flow_log(aws: _Clients, plan: Plan, vpc: str) -> Ids:
    group, role = f"/mutx/{plan['tenant']}/flow", f"mutx-{plan['tenant']}-flow"
    aws.logs.create_log_group(
        logGroupName=group, tags={p["Key"]: p["Value"] for p in _pairs(plan, "flow-log-group")}
    )
    aws.logs.put_retention_policy(logGroupName=group, retentionInDays=plan["flow_log_retention_days"])
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "vpc-flow-logs.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    made = aws.iam.create_role(
        RoleName=role,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        Tags=_pairs(plan, "flow-log-role"),
    )
    grant = {"Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": "*"}
    aws.iam.put_role_policy(
        RoleName=role,
        PolicyName="write-flow-logs",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [grant]}),
    )
    flow_log = aws.ec2.create_flow_logs(
        ResourceIds=[vpc],
        ResourceType="VPC",
        TrafficType="ALL",
        LogGroupName=group,
        DeliverLogsPermissionArn=made["Role"]["Arn"],
        MaxAggregationInterval=60,
        **_tags(plan, "vpc-flow-log", "flow-log"),
    )["FlowLogIds"][0]
    return {"log_group": group, "role": role, "flow_log": flow_log}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
