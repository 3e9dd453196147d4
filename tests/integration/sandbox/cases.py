"""One case for each resource type: what it needs, how it changes, how it drifts, how it is imported."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.integration.sandbox.engine_client import Engine, Resource

TAGS = {"Name": "acme", "mutx:tenant": "acme"}
OTHER_TAGS = {"Name": "acme", "mutx:owner": "ops"}

Inputs = dict[str, Any]
KEY_POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
                "Action": "kms:*",
                "Resource": "*",
            }
        ],
    }
)
METADATA = {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1}


CLOSED = dict.fromkeys(
    ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), True
)


def encrypted_by(key: str) -> Inputs:
    """A bucket's encryption under a key, as programs spell it."""
    default = {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": key}
    return {"applyServerSideEncryptionByDefault": default, "bucketKeyEnabled": True}


def kept_for(days: int) -> Inputs:
    """A bucket's default retention."""
    return {"defaultRetention": {"mode": "COMPLIANCE", "days": days}}


def expires_after(days: int) -> Inputs:
    """A bucket's lifecycle rule."""
    return {"id": "old", "status": "Enabled", "filter": {"prefix": "a/"}, "expiration": {"days": days}}


def root_volume(size: int) -> Inputs:
    """A launch template's mapping of an encrypted root volume, as programs spell it."""
    ebs = {
        "encrypted": "true",
        "volumeSize": size,
        "volumeType": "gp3",
        "deleteOnTermination": "true",
    }
    return {"deviceName": "/dev/xvda", "ebs": ebs}


class World:
    """Makes what a case stands on, once each, with names of its own."""

    def __init__(self, engine: Engine, boto: Callable[[str], Any], name: str) -> None:
        self.engine, self.boto, self.name = engine, boto, name
        self._made: dict[str, str] = {}

    @property
    def ec2(self) -> Any:
        return self.boto("ec2")

    def the(self, what: str) -> str:
        """Return the id of a prerequisite, e.g. `vpc`, `vpc2`."""
        if what not in self._made:
            self._made[what] = getattr(self, f"_{what.rstrip('2')}")(what)
        return self._made[what]

    def _vpc(self, what: str) -> str:
        return self._create("aws:ec2/vpc:Vpc", cidrBlock="10.0.0.0/16" if what == "vpc" else "10.1.0.0/16")

    def _subnet(self, what: str) -> str:
        cidr = "10.0.1.0/24" if what == "subnet" else "10.0.2.0/24"
        return self._create(
            "aws:ec2/subnet:Subnet", vpcId=self.the("vpc"), cidrBlock=cidr, availabilityZone="eu-west-1a"
        )

    def _gateway(self, what: str) -> str:
        return self._create(
            "aws:ec2/internetGateway:InternetGateway", vpcId=self.the("vpc" + what.removeprefix("gateway"))
        )

    def _address(self, what: str) -> str:
        return self._create("aws:ec2/eip:Eip", domain="vpc", tags={"Name": f"{self.name}-{what}"})

    def _nat(self, what: str) -> str:
        return self._create(
            "aws:ec2/natGateway:NatGateway", subnetId=self.the("subnet"), allocationId=self.the("address")
        )

    def _table(self, what: str) -> str:
        return self._create("aws:ec2/routeTable:RouteTable", vpcId=self.the("vpc"), tags={"Name": what})

    def _group(self, what: str) -> str:
        return self._create("aws:ec2/securityGroup:SecurityGroup", vpcId=self.the("vpc"), name=what)

    def _acl(self, what: str) -> str:
        return self._create("aws:ec2/networkAcl:NetworkAcl", vpcId=self.the("vpc"), tags={"Name": what})

    def _role(self, what: str) -> str:
        return self._create("aws:iam/role:Role", name=f"{self.name}-{what}", assumeRolePolicy=trust("ec2"))

    def _log(self, what: str) -> str:
        return self._create("aws:cloudwatch/logGroup:LogGroup", name=f"/{self.name}/{what}")

    def _key(self, what: str) -> str:
        return self._create("aws:kms/key:Key", description=what, tags={"Name": f"{self.name}-{what}"})

    def _bucket(self, what: str) -> str:
        return self._create("aws:s3/bucket:Bucket", bucket=f"{self.name}-{what}")

    def _locked(self, what: str) -> str:
        name = f"{self.name}-{what}"
        self._create("aws:s3/bucket:Bucket", bucket=name, objectLockEnabled=True)
        return name

    def key_arn(self, what: str = "key") -> str:
        return f"arn:aws:kms:eu-west-1:123456789012:key/{self.the(what)}"

    def _profile(self, what: str) -> str:
        return self._create(
            "aws:iam/instanceProfile:InstanceProfile", name=f"{self.name}-{what}", role=self.the("role")
        )

    def _template(self, what: str) -> str:
        return self._create(
            "aws:ec2/launchTemplate:LaunchTemplate",
            name=f"{self.name}-{what}",
            imageId="resolve:ssm:/mutx/images/base",
            instanceType="t3.small",
            vpcSecurityGroupIds=[self.the("group")],
            metadataOptions=METADATA,
            blockDeviceMappings=[root_volume(20)],
        )

    def _instance(self, what: str) -> str:
        return self._create(
            "aws:ec2/instance:Instance",
            subnetId=self.the("subnet"),
            launchTemplate={"id": self.the("template"), "version": "1"},
            tags={"Name": f"{self.name}-{what}"},
        )

    def _volume(self, what: str) -> str:
        return self._create(
            "aws:ebs/volume:Volume", availabilityZone="eu-west-1a", size=10, tags={"Name": what}
        )

    def log_arn(self, what: str = "log") -> str:
        return f"arn:aws:logs:eu-west-1:123456789012:log-group:{self.the(what)}"

    def role_arn(self) -> str:
        return f"arn:aws:iam::123456789012:role/{self.the('role')}"

    def prefix_list(self) -> str:
        wanted = [{"Name": "prefix-list-name", "Values": ["com.amazonaws.eu-west-1.s3"]}]
        return self.ec2.describe_prefix_lists(Filters=wanted)["PrefixLists"][0]["PrefixListId"]

    def _create(self, token: str, **inputs: Any) -> str:
        return self.engine.create(token, f"{self.name}-{len(self._made)}", **inputs).id


@dataclass(frozen=True)
class Case:
    """One resource type's life.

    Attributes:
        token: the type.
        inputs: the program's inputs in a world.
        creates: the API operation that makes it; "" where making it twice does no harm.
        update: inputs that change in place, None where every change replaces.
        replace: inputs whose change replaces.
        deletes_first: a replacement by `replace` must delete first.
        drift: changes the resource behind the provider's back; None where AWS has no call for it.
        remove: removes it behind the provider's back.
        import_id: the official import id.
        endures: deleting it leaves AWS as it is.
        unread: properties of the provider alone, which no import can know.
    """

    token: str
    inputs: Callable[[World], Inputs]
    creates: str
    remove: Callable[[World, Resource], Any] | None
    update: Callable[[World], Inputs] | None = None
    replace: Callable[[World], Inputs] | None = None
    deletes_first: bool = False
    drift: Callable[[World, Resource], Any] | None = None
    import_id: Callable[[Resource], str] = field(default=lambda resource: resource.id)
    endures: bool = False
    unread: frozenset[str] = frozenset()
    name: str = ""

    @property
    def title(self) -> str:
        return self.name or self.token.rsplit(":", 1)[-1]


def trust(service: str) -> str:
    statement = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"Service": f"{service}.amazonaws.com"},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def grant(action: str) -> str:
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}
    )


def retag(world: World, resource: Resource) -> None:
    world.ec2.create_tags(
        Resources=[resource.id], Tags=[{"Key": "Name", "Value": "changed"}, {"Key": "x", "Value": "y"}]
    )


def _rule(
    direction: str, name: str, source: Callable[[World], Inputs], other: Callable[[World], Inputs]
) -> Case:
    def remove(world: World, resource: Resource) -> None:
        revoke = getattr(world.ec2, f"revoke_security_group_{direction.lower()}")
        revoke(GroupId=world.the("group"), SecurityGroupRuleIds=[resource.id])

    def drift(world: World, resource: Resource) -> None:
        changed = {
            "IpProtocol": "tcp",
            "FromPort": 1,
            "ToPort": 2,
            "CidrIpv4": "10.9.0.0/16",
            "Description": "changed",
        }
        world.ec2.modify_security_group_rules(
            GroupId=world.the("group"),
            SecurityGroupRules=[{"SecurityGroupRuleId": resource.id, "SecurityGroupRule": changed}],
        )

    return Case(
        token=f"aws:vpc/securityGroup{direction}Rule:SecurityGroup{direction}Rule",
        name=name,
        inputs=lambda world: {
            "securityGroupId": world.the("group"),
            "ipProtocol": "tcp",
            "fromPort": 443,
            "toPort": 443,
            "description": "why",
            "tags": TAGS,
            **source(world),
        },
        creates=f"AuthorizeSecurityGroup{direction}",
        update=lambda world: {"fromPort": 8080, "toPort": 8090, "description": "another", "tags": OTHER_TAGS},
        replace=other,
        drift=drift,
        remove=remove,
    )


def _modify_endpoint(world: World, resource: Resource) -> None:
    world.ec2.modify_vpc_endpoint(
        VpcEndpointId=resource.id, AddRouteTableIds=[world.the("table2")], PolicyDocument=grant("s3:*")
    )


def _change_role(world: World, resource: Resource) -> None:
    world.boto("iam").update_assume_role_policy(RoleName=resource.id, PolicyDocument=trust("lambda"))
    world.boto("iam").update_role(RoleName=resource.id, Description="changed")


def _put_back(world: World, resource: Resource) -> None:
    default = world.ec2.describe_network_acls(
        Filters=[{"Name": "vpc-id", "Values": [world.the("vpc")]}, {"Name": "default", "Values": ["true"]}]
    )["NetworkAcls"][0]
    world.ec2.replace_network_acl_association(AssociationId=resource.id, NetworkAclId=default["NetworkAclId"])


def _open_default_group(world: World, resource: Resource) -> None:
    anyone = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    world.ec2.authorize_security_group_ingress(GroupId=resource.id, IpPermissions=anyone)


def _replace_entry(world: World, resource: Resource) -> None:
    key = {"NetworkAclId": world.the("acl"), "RuleNumber": 100, "Egress": False}
    world.ec2.replace_network_acl_entry(
        **key, Protocol="6", RuleAction="deny", CidrBlock="10.0.0.0/8", PortRange={"From": 1, "To": 9}
    )


def _drift_key(world: World, resource: Resource) -> None:
    kms = world.boto("kms")
    kms.disable_key_rotation(KeyId=resource.id)
    kms.update_key_description(KeyId=resource.id, Description="changed")


def _drift_policy(world: World, resource: Resource) -> None:
    world.boto("iam").create_policy_version(
        PolicyArn=resource.id, PolicyDocument=grant("s3:PutObject"), SetAsDefault=True
    )


def _empty_profile(world: World, resource: Resource) -> None:
    world.boto("iam").remove_role_from_instance_profile(
        InstanceProfileName=resource.id, RoleName=world.the("role")
    )


def _remove_profile(world: World, resource: Resource) -> None:
    _empty_profile(world, resource)
    world.boto("iam").delete_instance_profile(InstanceProfileName=resource.id)


def _drift_template(world: World, resource: Resource) -> None:
    world.ec2.create_launch_template_version(
        LaunchTemplateId=resource.id, LaunchTemplateData={"InstanceType": "t3.large"}
    )


def _weaken_metadata(world: World, resource: Resource) -> None:
    world.ec2.modify_instance_metadata_options(
        InstanceId=resource.id, HttpTokens="optional", HttpEndpoint="enabled", HttpPutResponseHopLimit=2
    )


def _weaken_encryption(world: World, resource: Resource) -> None:
    weak = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    world.boto("s3").put_bucket_encryption(
        Bucket=resource.id, ServerSideEncryptionConfiguration={"Rules": [weak]}
    )


def _shorten_life(world: World, resource: Resource) -> None:
    rule = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "a/"}, "Expiration": {"Days": 1}}
    world.boto("s3").put_bucket_lifecycle_configuration(
        Bucket=resource.id, LifecycleConfiguration={"Rules": [rule]}
    )


def _attach(world: World) -> Inputs:
    return {
        "deviceName": "/dev/sdf",
        "volumeId": world.the("volume"),
        "instanceId": world.the("instance"),
        "stopInstanceBeforeDetaching": True,
    }


def _detach_gateway(world: World, resource: Resource) -> None:
    world.ec2.detach_internet_gateway(InternetGatewayId=resource.id, VpcId=world.the("vpc"))


def _remove_gateway(world: World, resource: Resource) -> None:
    _detach_gateway(world, resource)
    world.ec2.delete_internet_gateway(InternetGatewayId=resource.id)


CASES = (
    Case(
        token="aws:ec2/vpc:Vpc",
        inputs=lambda world: {"cidrBlock": "10.0.0.0/16", "enableDnsHostnames": True, "tags": TAGS},
        creates="CreateVpc",
        update=lambda world: {"enableDnsHostnames": False, "enableDnsSupport": False, "tags": OTHER_TAGS},
        replace=lambda world: {"cidrBlock": "10.2.0.0/16"},
        drift=lambda world, it: world.ec2.modify_vpc_attribute(
            VpcId=it.id, EnableDnsHostnames={"Value": False}
        ),
        remove=lambda world, it: world.ec2.delete_vpc(VpcId=it.id),
    ),
    Case(
        token="aws:ec2/subnet:Subnet",
        inputs=lambda world: {
            "vpcId": world.the("vpc"),
            "cidrBlock": "10.0.9.0/24",
            "availabilityZone": "eu-west-1b",
            "tags": TAGS,
        },
        creates="CreateSubnet",
        update=lambda world: {"mapPublicIpOnLaunch": True, "tags": OTHER_TAGS},
        replace=lambda world: {"availabilityZone": "eu-west-1c"},
        deletes_first=True,
        drift=lambda world, it: world.ec2.modify_subnet_attribute(
            SubnetId=it.id, MapPublicIpOnLaunch={"Value": True}
        ),
        remove=lambda world, it: world.ec2.delete_subnet(SubnetId=it.id),
    ),
    Case(
        token="aws:ec2/internetGateway:InternetGateway",
        inputs=lambda world: {"vpcId": world.the("vpc"), "tags": TAGS},
        creates="CreateInternetGateway",
        update=lambda world: {"vpcId": world.the("vpc2"), "tags": OTHER_TAGS},
        drift=_detach_gateway,
        remove=_remove_gateway,
    ),
    Case(
        token="aws:ec2/eip:Eip",
        inputs=lambda world: {"domain": "vpc", "tags": {"Name": world.name}},
        creates="AllocateAddress",
        update=lambda world: {"tags": OTHER_TAGS},
        drift=retag,
        remove=lambda world, it: world.ec2.release_address(AllocationId=it.id),
    ),
    Case(
        token="aws:ec2/natGateway:NatGateway",
        inputs=lambda world: {
            "subnetId": world.the("subnet"),
            "allocationId": world.the("address"),
            "tags": TAGS,
        },
        creates="CreateNatGateway",
        update=lambda world: {"tags": OTHER_TAGS},
        replace=lambda world: {"subnetId": world.the("subnet2")},
        deletes_first=True,
        drift=retag,
        remove=lambda world, it: world.ec2.delete_nat_gateway(NatGatewayId=it.id),
    ),
    Case(
        token="aws:ec2/vpcEndpoint:VpcEndpoint",
        name="GatewayEndpoint",
        inputs=lambda world: {
            "vpcId": world.the("vpc"),
            "serviceName": "com.amazonaws.eu-west-1.s3",
            "vpcEndpointType": "Gateway",
            "routeTableIds": [world.the("table")],
            "policy": grant("s3:GetObject"),
            "tags": TAGS,
        },
        creates="CreateVpcEndpoint",
        update=lambda world: {
            "routeTableIds": [world.the("table2")],
            "policy": grant("s3:PutObject"),
            "tags": OTHER_TAGS,
        },
        replace=lambda world: {"serviceName": "com.amazonaws.eu-west-1.dynamodb"},
        drift=_modify_endpoint,
        remove=lambda world, it: world.ec2.delete_vpc_endpoints(VpcEndpointIds=[it.id]),
    ),
    Case(
        token="aws:ec2/vpcEndpoint:VpcEndpoint",
        name="InterfaceEndpoint",
        inputs=lambda world: {
            "vpcId": world.the("vpc"),
            "serviceName": "com.amazonaws.eu-west-1.ssm",
            "vpcEndpointType": "Interface",
            "subnetIds": [world.the("subnet")],
            "securityGroupIds": [world.the("group")],
            "privateDnsEnabled": True,
            "tags": TAGS,
        },
        creates="CreateVpcEndpoint",
        update=lambda world: {
            "subnetIds": [world.the("subnet2"), world.the("subnet")],
            "securityGroupIds": [world.the("group2")],
        },
        replace=lambda world: {"vpcId": world.the("vpc2")},
        drift=lambda world, it: world.ec2.modify_vpc_endpoint(
            VpcEndpointId=it.id, AddSecurityGroupIds=[world.the("group2")]
        ),
        remove=lambda world, it: world.ec2.delete_vpc_endpoints(VpcEndpointIds=[it.id]),
    ),
    Case(
        token="aws:ec2/routeTable:RouteTable",
        inputs=lambda world: {"vpcId": world.the("vpc"), "tags": TAGS},
        creates="CreateRouteTable",
        update=lambda world: {"tags": OTHER_TAGS},
        replace=lambda world: {"vpcId": world.the("vpc2")},
        drift=retag,
        remove=lambda world, it: world.ec2.delete_route_table(RouteTableId=it.id),
    ),
    Case(
        token="aws:ec2/route:Route",
        inputs=lambda world: {
            "routeTableId": world.the("table"),
            "destinationCidrBlock": "0.0.0.0/0",
            "gatewayId": world.the("gateway"),
        },
        creates="CreateRoute",
        update=lambda world: {"gatewayId": None, "natGatewayId": world.the("nat")},
        replace=lambda world: {"destinationCidrBlock": "198.51.100.0/24"},
        drift=lambda world, it: world.ec2.replace_route(
            RouteTableId=world.the("table"), DestinationCidrBlock="0.0.0.0/0", NatGatewayId=world.the("nat")
        ),
        remove=lambda world, it: world.ec2.delete_route(
            RouteTableId=world.the("table"), DestinationCidrBlock="0.0.0.0/0"
        ),
        import_id=lambda it: f"{it.inputs['routeTableId']}_0.0.0.0/0",
    ),
    Case(
        token="aws:ec2/routeTableAssociation:RouteTableAssociation",
        inputs=lambda world: {"routeTableId": world.the("table"), "subnetId": world.the("subnet")},
        creates="AssociateRouteTable",
        update=lambda world: {"routeTableId": world.the("table2")},
        replace=lambda world: {"subnetId": world.the("subnet2")},
        remove=lambda world, it: world.ec2.disassociate_route_table(AssociationId=it.id),
        import_id=lambda it: f"{it.inputs['subnetId']}/{it.inputs['routeTableId']}",
    ),
    Case(
        token="aws:ec2/securityGroup:SecurityGroup",
        inputs=lambda world: {"name": "agent", "description": "why", "vpcId": world.the("vpc"), "tags": TAGS},
        creates="CreateSecurityGroup",
        update=lambda world: {"tags": OTHER_TAGS},
        replace=lambda world: {"description": "another"},
        deletes_first=True,
        drift=retag,
        remove=lambda world, it: world.ec2.delete_security_group(GroupId=it.id),
    ),
    Case(
        token="aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
        inputs=lambda world: {"vpcId": world.the("vpc"), "ingress": [], "egress": [], "tags": TAGS},
        creates="",
        update=lambda world: {"tags": OTHER_TAGS},
        replace=lambda world: {"vpcId": world.the("vpc2")},
        drift=_open_default_group,
        remove=None,
        endures=True,
    ),
    _rule(
        "Ingress",
        "IngressFromGroup",
        lambda world: {"referencedSecurityGroupId": world.the("group2")},
        lambda world: {"referencedSecurityGroupId": None, "cidrIpv4": "10.0.0.0/8"},
    ),
    _rule(
        "Ingress",
        "IngressFromAddress",
        lambda world: {"cidrIpv4": "10.0.0.0/8"},
        lambda world: {"securityGroupId": world.the("group2")},
    ),
    _rule(
        "Egress",
        "EgressToPrefixList",
        lambda world: {"prefixListId": world.prefix_list()},
        lambda world: {"prefixListId": None, "cidrIpv4": "10.0.0.0/8"},
    ),
    _rule(
        "Egress",
        "EgressToAddress",
        lambda world: {"cidrIpv4": "10.0.0.0/8"},
        lambda world: {"securityGroupId": world.the("group2")},
    ),
    Case(
        token="aws:ec2/networkAcl:NetworkAcl",
        inputs=lambda world: {"vpcId": world.the("vpc"), "tags": TAGS},
        creates="CreateNetworkAcl",
        update=lambda world: {"tags": OTHER_TAGS},
        replace=lambda world: {"vpcId": world.the("vpc2")},
        drift=retag,
        remove=lambda world, it: world.ec2.delete_network_acl(NetworkAclId=it.id),
    ),
    Case(
        token="aws:ec2/networkAclRule:NetworkAclRule",
        inputs=lambda world: {
            "networkAclId": world.the("acl"),
            "ruleNumber": 100,
            "egress": False,
            "protocol": "tcp",
            "ruleAction": "allow",
            "cidrBlock": "10.0.0.0/8",
            "fromPort": 5432,
            "toPort": 5432,
        },
        creates="CreateNetworkAclEntry",
        replace=lambda world: {"toPort": 5433},
        deletes_first=True,
        drift=_replace_entry,
        remove=lambda world, it: world.ec2.delete_network_acl_entry(
            NetworkAclId=world.the("acl"), RuleNumber=100, Egress=False
        ),
        import_id=lambda it: f"{it.inputs['networkAclId']}:100:tcp:false",
    ),
    Case(
        token="aws:ec2/networkAclRule:NetworkAclRule",
        name="IcmpAclRule",
        inputs=lambda world: {
            "networkAclId": world.the("acl"),
            "ruleNumber": 200,
            "egress": True,
            "protocol": "icmp",
            "ruleAction": "deny",
            "cidrBlock": "0.0.0.0/0",
            "icmpType": 3,
            "icmpCode": 4,
        },
        creates="CreateNetworkAclEntry",
        replace=lambda world: {"ruleNumber": 201},
        remove=lambda world, it: world.ec2.delete_network_acl_entry(
            NetworkAclId=world.the("acl"), RuleNumber=200, Egress=True
        ),
        import_id=lambda it: f"{it.inputs['networkAclId']}:200:icmp:true",
    ),
    Case(
        token="aws:ec2/networkAclAssociation:NetworkAclAssociation",
        inputs=lambda world: {"networkAclId": world.the("acl"), "subnetId": world.the("subnet")},
        creates="ReplaceNetworkAclAssociation",
        replace=lambda world: {"networkAclId": world.the("acl2")},
        deletes_first=True,
        remove=_put_back,
    ),
    Case(
        token="aws:cloudwatch/logGroup:LogGroup",
        inputs=lambda world: {"name": f"/{world.name}/own", "retentionInDays": 30, "tags": TAGS},
        creates="CreateLogGroup",
        update=lambda world: {"retentionInDays": 7, "tags": OTHER_TAGS},
        replace=lambda world: {"name": f"/{world.name}/other"},
        drift=lambda world, it: world.boto("logs").put_retention_policy(
            logGroupName=it.id, retentionInDays=1
        ),
        remove=lambda world, it: world.boto("logs").delete_log_group(logGroupName=it.id),
    ),
    Case(
        token="aws:iam/role:Role",
        inputs=lambda world: {
            "name": f"{world.name}-own",
            "description": "why",
            "assumeRolePolicy": trust("vpc-flow-logs"),
            "tags": TAGS,
        },
        creates="CreateRole",
        update=lambda world: {
            "assumeRolePolicy": trust("ec2"),
            "description": "another",
            "maxSessionDuration": 7200,
            "tags": OTHER_TAGS,
        },
        replace=lambda world: {"path": "/other/"},
        deletes_first=True,
        drift=_change_role,
        remove=lambda world, it: world.boto("iam").delete_role(RoleName=it.id),
    ),
    Case(
        token="aws:iam/rolePolicy:RolePolicy",
        inputs=lambda world: {
            "name": "write",
            "role": world.the("role"),
            "policy": grant("logs:PutLogEvents"),
        },
        creates="",
        update=lambda world: {"policy": grant("logs:*")},
        replace=lambda world: {"name": "other"},
        drift=lambda world, it: world.boto("iam").put_role_policy(
            RoleName=world.the("role"), PolicyName="write", PolicyDocument=grant("s3:*")
        ),
        remove=lambda world, it: world.boto("iam").delete_role_policy(
            RoleName=world.the("role"), PolicyName="write"
        ),
    ),
    Case(
        token="aws:ec2/flowLog:FlowLog",
        inputs=lambda world: {
            "vpcId": world.the("vpc"),
            "trafficType": "ALL",
            "logDestination": world.log_arn(),
            "iamRoleArn": world.role_arn(),
            "maxAggregationInterval": 60,
            "tags": TAGS,
        },
        creates="CreateFlowLogs",
        update=lambda world: {"tags": OTHER_TAGS},
        replace=lambda world: {"trafficType": "REJECT"},
        deletes_first=True,
        drift=retag,
        remove=lambda world, it: world.ec2.delete_flow_logs(FlowLogIds=[it.id]),
    ),
    Case(
        token="aws:kms/key:Key",
        inputs=lambda world: {
            "description": "why",
            "policy": KEY_POLICY,
            "enableKeyRotation": True,
            "deletionWindowInDays": 7,
            "tags": {"Name": world.name},
        },
        creates="CreateKey",
        update=lambda world: {"description": "another", "enableKeyRotation": False, "tags": OTHER_TAGS},
        replace=lambda world: {"keyUsage": "SIGN_VERIFY"},
        drift=_drift_key,
        remove=lambda world, it: world.boto("kms").schedule_key_deletion(KeyId=it.id, PendingWindowInDays=7),
        unread=frozenset({"deletionWindowInDays"}),
    ),
    Case(
        token="aws:kms/alias:Alias",
        inputs=lambda world: {"name": f"alias/{world.name}/one", "targetKeyId": world.the("key")},
        creates="CreateAlias",
        update=lambda world: {"targetKeyId": world.the("key2")},
        replace=lambda world: {"name": f"alias/{world.name}/two"},
        drift=lambda world, it: world.boto("kms").update_alias(
            AliasName=it.id, TargetKeyId=world.the("key2")
        ),
        remove=lambda world, it: world.boto("kms").delete_alias(AliasName=it.id),
    ),
    Case(
        token="aws:iam/policy:Policy",
        inputs=lambda world: {
            "name": f"{world.name}-policy",
            "path": "/mutx/acme/",
            "description": "why",
            "policy": grant("s3:GetObject"),
            "tags": TAGS,
        },
        creates="CreatePolicy",
        update=lambda world: {"policy": grant("s3:ListBucket"), "tags": OTHER_TAGS},
        replace=lambda world: {"description": "another"},
        deletes_first=True,
        drift=_drift_policy,
        remove=lambda world, it: world.boto("iam").delete_policy(PolicyArn=it.id),
    ),
    Case(
        token="aws:iam/instanceProfile:InstanceProfile",
        inputs=lambda world: {
            "name": f"{world.name}-profile",
            "path": "/mutx/acme/",
            "role": world.the("role"),
            "tags": TAGS,
        },
        creates="CreateInstanceProfile",
        update=lambda world: {"role": world.the("role2"), "tags": OTHER_TAGS},
        replace=lambda world: {"name": f"{world.name}-other"},
        drift=_empty_profile,
        remove=_remove_profile,
    ),
    Case(
        token="aws:ec2/launchTemplate:LaunchTemplate",
        inputs=lambda world: {
            "name": f"{world.name}-template",
            "description": "why",
            "imageId": "resolve:ssm:/mutx/images/base",
            "instanceType": "t3.small",
            "updateDefaultVersion": True,
            "vpcSecurityGroupIds": [world.the("group")],
            "metadataOptions": METADATA,
            "blockDeviceMappings": [root_volume(20)],
            "tagSpecifications": [{"resourceType": "volume", "tags": TAGS}],
            "tags": TAGS,
        },
        creates="CreateLaunchTemplate",
        update=lambda world: {
            "instanceType": "t3.medium",
            "blockDeviceMappings": [root_volume(30)],
            "tags": OTHER_TAGS,
        },
        replace=lambda world: {"name": f"{world.name}-other"},
        drift=_drift_template,
        remove=lambda world, it: world.ec2.delete_launch_template(LaunchTemplateId=it.id),
        unread=frozenset({"updateDefaultVersion"}),
    ),
    Case(
        token="aws:ec2/instance:Instance",
        inputs=lambda world: {
            "subnetId": world.the("subnet"),
            "launchTemplate": {"id": world.the("template"), "version": "1"},
            "iamInstanceProfile": world.the("profile"),
            "userData": "#!/bin/sh\nexec true\n",
            "metadataOptions": METADATA,
            "tags": TAGS,
        },
        creates="RunInstances",
        update=lambda world: {
            "iamInstanceProfile": world.the("profile2"),
            "vpcSecurityGroupIds": [world.the("group2")],
            "tags": OTHER_TAGS,
        },
        replace=lambda world: {"subnetId": world.the("subnet2")},
        drift=_weaken_metadata,
        remove=lambda world, it: world.ec2.terminate_instances(InstanceIds=[it.id]),
    ),
    Case(
        token="aws:ebs/volume:Volume",
        inputs=lambda world: {
            "availabilityZone": "eu-west-1a",
            "size": 10,
            "type": "gp3",
            "encrypted": True,
            "kmsKeyId": world.key_arn(),
            "tags": TAGS,
        },
        creates="CreateVolume",
        update=lambda world: {"size": 20, "tags": OTHER_TAGS},
        replace=lambda world: {"kmsKeyId": world.key_arn("key2")},
        drift=retag,
        remove=lambda world, it: world.ec2.delete_volume(VolumeId=it.id),
    ),
    Case(
        token="aws:ec2/volumeAttachment:VolumeAttachment",
        inputs=_attach,
        creates="AttachVolume",
        replace=lambda world: {"deviceName": "/dev/sdg"},
        deletes_first=True,
        remove=lambda world, it: world.ec2.detach_volume(
            VolumeId=world.the("volume"), InstanceId=world.the("instance")
        ),
        unread=frozenset({"stopInstanceBeforeDetaching"}),
        import_id=lambda it: f"{it.inputs['deviceName']}:{it.inputs['volumeId']}:{it.inputs['instanceId']}",
    ),
    Case(
        token="aws:s3/bucket:Bucket",
        inputs=lambda world: {"bucket": f"{world.name}-own", "objectLockEnabled": True, "tags": TAGS},
        creates="CreateBucket",
        update=lambda world: {"tags": OTHER_TAGS},
        replace=lambda world: {"bucket": f"{world.name}-other"},
        drift=lambda world, it: world.boto("s3").put_bucket_tagging(
            Bucket=it.id, Tagging={"TagSet": [{"Key": "Name", "Value": "changed"}]}
        ),
        remove=lambda world, it: world.boto("s3").delete_bucket(Bucket=it.id),
    ),
    Case(
        token="aws:s3/bucketVersioning:BucketVersioning",
        inputs=lambda world: {
            "bucket": world.the("bucket"),
            "versioningConfiguration": {"status": "Enabled"},
        },
        creates="",
        update=lambda world: {"versioningConfiguration": {"status": "Suspended"}},
        replace=lambda world: {"bucket": world.the("bucket2")},
        drift=lambda world, it: world.boto("s3").put_bucket_versioning(
            Bucket=it.id, VersioningConfiguration={"Status": "Suspended"}
        ),
        remove=None,
        endures=True,
    ),
    Case(
        token="aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        inputs=lambda world: {"bucket": world.the("bucket"), "rules": [encrypted_by(world.key_arn())]},
        creates="",
        update=lambda world: {"rules": [encrypted_by(world.key_arn("key2"))]},
        replace=lambda world: {"bucket": world.the("bucket2")},
        drift=_weaken_encryption,
        remove=lambda world, it: world.boto("s3").delete_bucket_encryption(Bucket=it.id),
    ),
    Case(
        token="aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        inputs=lambda world: {"bucket": world.the("bucket"), **CLOSED},
        creates="",
        update=lambda world: {"blockPublicPolicy": False},
        replace=lambda world: {"bucket": world.the("bucket2")},
        drift=lambda world, it: world.boto("s3").put_public_access_block(
            Bucket=it.id,
            PublicAccessBlockConfiguration={"BlockPublicAcls": True, "IgnorePublicAcls": True},
        ),
        remove=lambda world, it: world.boto("s3").delete_public_access_block(Bucket=it.id),
    ),
    Case(
        token="aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration",
        inputs=lambda world: {"bucket": world.the("locked"), "rule": kept_for(2557)},
        creates="",
        update=lambda world: {"rule": kept_for(3000)},
        replace=lambda world: {"bucket": world.the("locked2")},
        drift=lambda world, it: world.boto("s3").put_object_lock_configuration(
            Bucket=it.id,
            ObjectLockConfiguration={
                "ObjectLockEnabled": "Enabled",
                "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}},
            },
        ),
        remove=None,
        endures=True,
    ),
    Case(
        token="aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        inputs=lambda world: {"bucket": world.the("bucket"), "rules": [expires_after(400)]},
        creates="",
        update=lambda world: {"rules": [expires_after(500)]},
        replace=lambda world: {"bucket": world.the("bucket2")},
        drift=_shorten_life,
        remove=lambda world, it: world.boto("s3").delete_bucket_lifecycle(Bucket=it.id),
    ),
    Case(
        token="aws:s3/bucketPolicy:BucketPolicy",
        inputs=lambda world: {"bucket": world.the("bucket"), "policy": grant("s3:GetObject")},
        creates="",
        update=lambda world: {"policy": grant("s3:PutObject")},
        replace=lambda world: {"bucket": world.the("bucket2")},
        drift=lambda world, it: world.boto("s3").put_bucket_policy(
            Bucket=it.id, Policy=grant("s3:ListBucket")
        ),
        remove=lambda world, it: world.boto("s3").delete_bucket_policy(Bucket=it.id),
    ),
)
