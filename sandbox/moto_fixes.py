"""Where moto 5.2 answers differently from AWS in ways that a network's life meets; corrected in its own process.

Each function says what AWS does. `tests/integration/sandbox/test_moto_fixes.py` shows each by plain boto3; when moto
has one itself, it is removed here.
"""

from __future__ import annotations

import inspect
from typing import Any, TypeAlias

Moto: TypeAlias = Any
"""Something of moto's, which has no types for its backends."""

_ALL = "-1"


def correct_moto() -> None:
    """Put all corrections in force, before the first request."""
    _describe_rules_of_groups()
    _modify_rules_of_every_source()
    _start_vpcs_with_the_self_rule()
    _report_unknown_nat_gateways()
    _free_what_a_nat_gateway_held()
    _report_unknown_acl_entries()
    _keep_icmp_types()
    _follow_endpoint_changes_in_routes()
    _default_endpoints_to_gateway()
    _start_instances_as_their_template_says()
    _free_the_address_of_a_terminated_instance()
    _report_addresses_in_use()
    _retag_launch_templates()
    _show_replaced_profiles()
    _sort_events_over_streams()


def _put(owner: Moto, name: str, value: Moto) -> None:
    """Replace a member of one of moto's classes."""
    setattr(owner, name, value)


def _describe_rules_of_groups() -> None:
    """AWS returns the description of a rule whatever its source; moto only of CIDR rules."""
    from moto.ec2.models.security_groups import SecurityGroupRule  # noqa: PLC0415

    original = SecurityGroupRule.__init__

    signature = inspect.signature(original)

    def init(self: Moto, *args: Moto, **kwargs: Moto) -> None:
        original(self, *args, **kwargs)
        prefix_list = signature.bind(self, *args, **kwargs).arguments.get("prefix_list_id") or {}
        if prefix_list.get("Description"):
            self.mutx_description = prefix_list["Description"]

    def description(self: Moto) -> str | None:
        for source in (self.ip_range, self.source_group):
            if source.get("Description"):
                return str(source["Description"])
        found: str | None = getattr(self, "mutx_description", None)
        return found

    _put(SecurityGroupRule, "__init__", init)
    _put(SecurityGroupRule, "description", property(description))


def _modify_rules_of_every_source() -> None:
    """AWS modifies rules with any source, and those without ports; moto only IPv4 rules with ports."""
    from moto.ec2.exceptions import (  # noqa: PLC0415
        InvalidSecurityGroupNotFoundError,
        InvalidSecurityGroupRuleIdNotFoundError,
    )
    from moto.ec2.models.security_groups import SecurityGroupBackend  # noqa: PLC0415

    def modify(self: Moto, group_id: str, rules: dict[str, dict[str, Any]]) -> None:
        group = self.get_security_group_by_name_or_id(group_id)
        if group is None:
            raise InvalidSecurityGroupNotFoundError(group_id)
        for rule_id, wanted in rules.items():
            rule = group.get_rule(rule_id)
            if rule is None:
                raise InvalidSecurityGroupRuleIdNotFoundError(rule_id)
            _overwrite(rule, wanted)

    _put(SecurityGroupBackend, "modify_security_group_rules", modify)


def _overwrite(rule: Moto, wanted: dict[str, Any]) -> None:
    rule.ip_protocol = wanted["IpProtocol"]
    ported = wanted["IpProtocol"] != _ALL
    rule.from_port = int(wanted["FromPort"]) if ported and "FromPort" in wanted else None
    rule.to_port = int(wanted["ToPort"]) if ported and "ToPort" in wanted else None
    described = {"Description": wanted["Description"]} if wanted.get("Description") else {}
    rule.mutx_description = wanted.get("Description")
    rule.prefix_list_id = wanted.get("PrefixListId")
    rule.ip_range, rule.source_group = {}, {}
    if wanted.get("CidrIpv4"):
        rule.ip_range = {"CidrIp": wanted["CidrIpv4"], **described}
    if wanted.get("CidrIpv6"):
        rule.ip_range = {"CidrIpv6": wanted["CidrIpv6"], **described}
    if wanted.get("ReferencedGroupId"):
        rule.source_group = {"GroupId": wanted["ReferencedGroupId"], "UserId": rule.owner_id, **described}


def _start_vpcs_with_the_self_rule() -> None:
    """AWS lets members of a new VPC's default group reach each other; moto's default group has no ingress rule."""
    from moto.ec2.models.security_groups import SecurityGroup, SecurityGroupRule  # noqa: PLC0415

    original = SecurityGroup.__init__

    def init(self: Moto, *args: Moto, **kwargs: Moto) -> None:
        original(self, *args, **kwargs)
        if self.is_default and self.vpc_id:
            members = {"GroupId": self.id, "UserId": self.owner_id}
            self.ingress_rules.append(
                SecurityGroupRule(
                    self.ec2_backend, _ALL, self.id, None, None, None, source_group=members, is_egress=False
                )
            )

    _put(SecurityGroup, "__init__", init)


def _report_unknown_nat_gateways() -> None:
    """AWS answers NatGatewayNotFound; moto fails with 500 on deletion and lists nothing on description."""
    from moto.ec2.exceptions import EC2ClientError  # noqa: PLC0415
    from moto.ec2.models.nat_gateways import NatGatewayBackend  # noqa: PLC0415

    delete, describe = NatGatewayBackend.delete_nat_gateway, NatGatewayBackend.describe_nat_gateways

    def check(self: Moto, identifiers: list[str] | None) -> None:
        for identifier in identifiers or []:
            if identifier not in self.nat_gateways:
                raise EC2ClientError("NatGatewayNotFound", f"The Nat Gateway {identifier} was not found")

    def delete_known(self: Moto, nat_gateway_id: str) -> Moto:
        check(self, [nat_gateway_id])
        return delete(self, nat_gateway_id)

    def describe_known(self: Moto, filters: Moto, nat_gateway_ids: list[str] | None) -> Moto:
        check(self, nat_gateway_ids)
        return describe(self, filters, nat_gateway_ids)

    _put(NatGatewayBackend, "delete_nat_gateway", delete_known)
    _put(NatGatewayBackend, "describe_nat_gateways", describe_known)


def _free_what_a_nat_gateway_held() -> None:
    """AWS frees address and network interface with the gateway; moto keeps both, the latter in the subnet."""
    from moto.ec2.models.nat_gateways import NatGatewayBackend  # noqa: PLC0415

    delete = NatGatewayBackend.delete_nat_gateway

    def delete_and_free(self: Moto, nat_gateway_id: str) -> Moto:
        gateway = delete(self, nat_gateway_id)
        for address in self.addresses.copy():
            if address.eni is not None and address.eni.id == gateway._eni.id:
                self.disassociate_address(association_id=address.association_id)
        self.enis.pop(gateway._eni.id, None)
        return gateway

    _put(NatGatewayBackend, "delete_nat_gateway", delete_and_free)


def _report_unknown_acl_entries() -> None:
    """AWS answers InvalidNetworkAclEntry.NotFound and InvalidNetworkAclID.NotFound; moto 500 and another code."""
    from moto.ec2.exceptions import EC2ClientError  # noqa: PLC0415
    from moto.ec2.models.network_acls import NetworkAclBackend  # noqa: PLC0415

    delete, describe = NetworkAclBackend.delete_network_acl_entry, NetworkAclBackend.describe_network_acls

    def delete_known(self: Moto, network_acl_id: str, rule_number: int, egress: bool) -> Moto:
        entries = self.get_network_acl(network_acl_id).network_acl_entries
        if not any(entry.egress == egress and entry.rule_number == rule_number for entry in entries):
            raise EC2ClientError(
                "InvalidNetworkAclEntry.NotFound", f"The network ACL entry {rule_number} does not exist"
            )
        return delete(self, network_acl_id, rule_number, egress)

    def describe_known(self: Moto, network_acl_ids: list[str] | None = None, filters: Moto = None) -> Moto:
        for identifier in network_acl_ids or []:
            self.get_network_acl(identifier)
        return describe(self, network_acl_ids, filters)

    _put(NetworkAclBackend, "delete_network_acl_entry", delete_known)
    _put(NetworkAclBackend, "describe_network_acls", describe_known)


def _keep_icmp_types() -> None:
    """AWS keeps the ICMP type and code of an ACL entry; moto looks for them under a name that nobody sends."""
    from moto.ec2.responses.network_acls import NetworkACLs  # noqa: PLC0415

    create = NetworkACLs.create_network_acl_entry

    def create_with_icmp(self: Moto) -> Moto:
        answer = create(self)
        kind = self._get_param("IcmpTypeCode") or {}
        if kind:
            number, egress = self._get_param("RuleNumber"), self._get_param("Egress")
            for entry in self.ec2_backend.get_network_acl(
                self._get_param("NetworkAclId")
            ).network_acl_entries:
                if entry.rule_number == number and entry.egress == egress:
                    entry.icmp_type, entry.icmp_code = kind.get("Type"), kind.get("Code")
        return answer

    _put(NetworkACLs, "create_network_acl_entry", create_with_icmp)


def _follow_endpoint_changes_in_routes() -> None:
    """AWS adds and removes the prefix list's route as tables join and leave a gateway endpoint; moto does not."""
    from moto.ec2.models.vpcs import VPCEndPoint  # noqa: PLC0415

    modify = VPCEndPoint.modify

    def modify_with_routes(self: Moto, *args: Moto, **kwargs: Moto) -> None:
        before = set(self.route_table_ids)
        modify(self, *args, **kwargs)
        prefix_list = self.destination_prefix_list_id
        if not prefix_list:
            return
        for table in set(self.route_table_ids) - before:
            self.ec2_backend.create_route(
                table, None, gateway_id=self.id, destination_prefix_list_id=prefix_list
            )
        for table in before - set(self.route_table_ids):
            self.ec2_backend.delete_route(table, None, destination_prefix_list_id=prefix_list)

    _put(VPCEndPoint, "modify", modify_with_routes)


def _default_endpoints_to_gateway() -> None:
    """AWS makes an endpoint without a type a Gateway; moto stores no type and then cannot delete it."""
    from moto.ec2.models.vpcs import VPCBackend  # noqa: PLC0415

    create = VPCBackend.create_vpc_endpoint

    def create_typed(
        self: Moto, vpc_id: str, service_name: str, endpoint_type: str | None, **rest: Moto
    ) -> Moto:
        return create(
            self, vpc_id=vpc_id, service_name=service_name, endpoint_type=endpoint_type or "Gateway", **rest
        )

    _put(VPCBackend, "create_vpc_endpoint", create_typed)


_BY_PARAMETER = "resolve:ssm:"


def _start_instances_as_their_template_says() -> None:
    """AWS takes image parameter, metadata options, root volume and volume tags from a launch template; moto none."""
    from moto.ec2.models.instances import InstanceBackend  # noqa: PLC0415

    run = InstanceBackend.run_instances

    def run_as_template_says(self: Moto, image_id: str, *args: Moto, **kwargs: Moto) -> Moto:
        named = kwargs.get("launch_template")
        data = self._get_template_from_args(named).data if named else {}
        wanted = image_id or data.get("ImageId", "")
        if wanted.startswith(_BY_PARAMETER):
            image_id = _image_named(self, wanted.removeprefix(_BY_PARAMETER))
        kwargs["metadata_options"] = {
            **(data.get("MetadataOptions") or {}),
            **(kwargs.get("metadata_options") or {}),
        }
        if data.get("BlockDeviceMappings"):
            kwargs.setdefault("block_device_mappings", data["BlockDeviceMappings"])
        tags = {
            entry["ResourceType"]: {tag["Key"]: tag["Value"] for tag in entry.get("Tags") or []}
            for entry in data.get("TagSpecifications") or []
        }
        kwargs["tags"] = {"volume": tags.get("volume", {}), **(kwargs.get("tags") or {})}
        return run(self, image_id, *args, **kwargs)

    _put(InstanceBackend, "run_instances", run_as_template_says)


def _free_the_address_of_a_terminated_instance() -> None:
    """AWS deletes the interface that came with an instance, and its address is free; moto keeps both."""
    from moto.ec2.models.instances import Instance  # noqa: PLC0415

    terminate = Instance.terminate

    def terminate_and_free(self: Moto) -> Moto:
        ended = terminate(self)
        for nic in self.nics.values():
            if nic.description == "Primary network interface" and nic.id in self.ec2_backend.enis:
                self.ec2_backend.enis.pop(nic.id)
                for address in nic.private_ip_addresses:
                    nic.subnet.del_subnet_ip(address["PrivateIpAddress"])
        return ended

    _put(Instance, "terminate", terminate_and_free)


def _report_addresses_in_use() -> None:
    """AWS answers InvalidIPAddress.InUse where an address is taken; moto 500."""
    from moto.ec2.exceptions import EC2ClientError  # noqa: PLC0415
    from moto.ec2.models.subnets import Subnet  # noqa: PLC0415

    request = Subnet.request_ip

    def request_free_ip(self: Moto, ip: str, instance: Moto) -> None:
        if ip in self._subnet_ips:
            raise EC2ClientError("InvalidIPAddress.InUse", f"Address {ip} is in use.")
        request(self, ip, instance)

    _put(Subnet, "request_ip", request_free_ip)


def _image_named(backend: Moto, parameter: str) -> str:
    from moto.backends import get_backend  # noqa: PLC0415
    from moto.ec2.exceptions import EC2ClientError  # noqa: PLC0415
    from mutx_sandbox.images import register_image  # noqa: PLC0415

    store = get_backend("ssm")[backend.account_id][backend.region_name]
    found = store.get_parameters([parameter]).get(parameter)
    if found is None:
        raise EC2ClientError(
            "InvalidParameterValue", f"The parameter {parameter} of the image does not exist"
        )
    register_image(backend, str(found.value))
    return str(found.value)


def _retag_launch_templates() -> None:
    """AWS shows a launch template's tags as they are; moto those that it was made with."""
    from moto.ec2.models.launch_templates import LaunchTemplate  # noqa: PLC0415

    def tags(self: Moto) -> Moto:
        return self.get_tags()

    def ignore(self: Moto, value: Moto) -> None:
        """Take no copy."""

    _put(LaunchTemplate, "tags", property(tags, ignore))


def _show_replaced_profiles() -> None:
    """AWS shows an instance's new profile after a replacement; moto shows the old one."""
    from moto.ec2.models.iam_instance_profile import IamInstanceProfileAssociationBackend  # noqa: PLC0415

    replace = IamInstanceProfileAssociationBackend.replace_iam_instance_profile_association

    def replace_and_show(self: Moto, *args: Moto, **kwargs: Moto) -> Moto:
        association = replace(self, *args, **kwargs)
        shown = {"Arn": association.iam_instance_profile.arn, "Id": association.association_id}
        self.modify_instance_attribute(association.instance.id, "iam_instance_profile", shown)
        return association

    _put(IamInstanceProfileAssociationBackend, "replace_iam_instance_profile_association", replace_and_show)


def _sort_events_over_streams() -> None:
    """AWS sorts a log group's events by time over all streams, and ignores `interleaved`; moto only with it."""
    from moto.logs.models import LogGroup  # noqa: PLC0415

    search = LogGroup.filter_log_events

    def search_sorted(self: Moto, *args: Moto, **kwargs: Moto) -> Moto:
        bound = inspect.signature(search).bind(self, *args, **kwargs)
        bound.arguments["interleaved"] = True
        return search(*bound.args, **bound.kwargs)

    _put(LogGroup, "filter_log_events", search_sorted)
