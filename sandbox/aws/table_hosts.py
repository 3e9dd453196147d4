"""The table: launch templates, instances, and the volumes beside them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from zlib import crc32

from mutx_sandbox.aws.ec2 import COMMON, arn, described
from mutx_sandbox.aws.resource import Call, Create, Describe, Naming, ResourceType, Update, Wait
from mutx_sandbox.aws.shapes import lower_camel, put, to_api
from mutx_sandbox.aws.tags import REGION, ec2_tagging, pairs
from mutx_sandbox.bridge.properties import Kind, Output, Property, boolean, integer, string, strings
from mutx_sandbox.bridge.values import Properties, Value

if TYPE_CHECKING:
    from mutx_sandbox.aws.work import Work

_TEMPLATE_NAME_LENGTH = 125
_ENDED = frozenset({"shutting-down", "terminated", "stopping", "stopped"})
_DETACHED = frozenset({"IncorrectState", "InvalidAttachment.NotFound"})


def _in_data(kind: Kind, member: str, **more: Value) -> Property:
    """Describe a property that lies in the template's data, not beside it."""
    return Property(kind=kind, api=f"LaunchTemplateData.{member}", item=f"Data.{member}", **more)


_NESTED = ("BlockDeviceMappings", "MetadataOptions", "IamInstanceProfile", "Monitoring")


def _template_data(data: Properties) -> Properties:
    """Return a template's data as the API takes it."""
    made = {name: to_api(value) if name in _NESTED else value for name, value in data.items()}
    if data.get("TagSpecifications"):
        made["TagSpecifications"] = [
            {"ResourceType": entry["resourceType"], "Tags": pairs(entry.get("tags") or {})}
            for entry in data["TagSpecifications"]
        ]
    return made


def _template_request(_inputs: Properties, request: Properties) -> Properties:
    return {**request, "LaunchTemplateData": _template_data(request.get("LaunchTemplateData") or {})}


def _extend_template(work: Work, item: Properties, _new: bool) -> Properties:
    """Add the newest version's data, with nested members named as properties are."""
    found = work.call(
        "DescribeLaunchTemplateVersions", {"LaunchTemplateId": work.id, "Versions": ["$Latest"]}
    )
    version = found["LaunchTemplateVersions"][0]
    data = dict(version["LaunchTemplateData"])
    data |= {name: lower_camel(data[name]) for name in _NESTED if name in data}
    data["TagSpecifications"] = [
        {
            "resourceType": entry["ResourceType"],
            "tags": {tag["Key"]: tag["Value"] for tag in entry.get("Tags") or []},
        }
        for entry in data.get("TagSpecifications") or []
        # A template's own tags are no part of what it launches.
        if entry["ResourceType"] != "launch-template"
    ]
    return {**item, "Data": data, "VersionDescription": version.get("VersionDescription")}


_TEMPLATE_DATA = {
    "imageId": _in_data(Kind.STRING, "ImageId"),
    "instanceType": _in_data(Kind.STRING, "InstanceType"),
    "keyName": _in_data(Kind.STRING, "KeyName"),
    "userData": _in_data(Kind.STRING, "UserData"),
    "ebsOptimized": _in_data(Kind.STRING, "EbsOptimized"),
    "disableApiTermination": _in_data(Kind.BOOLEAN, "DisableApiTermination"),
    "vpcSecurityGroupIds": _in_data(Kind.STRINGS, "SecurityGroupIds"),
    "iamInstanceProfile": _in_data(Kind.OBJECT, "IamInstanceProfile"),
    "metadataOptions": _in_data(Kind.OBJECT, "MetadataOptions", computed=True),
    "monitoring": _in_data(Kind.OBJECT, "Monitoring"),
    "blockDeviceMappings": _in_data(Kind.OBJECTS, "BlockDeviceMappings"),
    "tagSpecifications": _in_data(Kind.OBJECTS, "TagSpecifications"),
}


def _new_version(work: Work) -> None:
    """Make a version from all that the program says, and make it the default where that is asked for."""
    data: Properties = {}
    for name, property_ in _TEMPLATE_DATA.items():
        if work.inputs.get(name) is not None:
            put(data, str(property_.api), work.inputs[name])
    request = {
        "LaunchTemplateId": work.id,
        "VersionDescription": work.inputs.get("description"),
        "LaunchTemplateData": _template_data(data.get("LaunchTemplateData") or {}),
    }
    made = work.call_once("CreateLaunchTemplateVersion", request)["LaunchTemplateVersion"]
    if work.inputs.get("updateDefaultVersion"):
        _set_default(work, made["VersionNumber"])


def _set_default(work: Work, version: int) -> None:
    work.call("ModifyLaunchTemplate", {"LaunchTemplateId": work.id, "DefaultVersion": str(version)})


LAUNCH_TEMPLATE = ResourceType(
    name="aws:ec2/launchTemplate:LaunchTemplate",
    service="ec2",
    properties={
        **COMMON,
        "name": string(replaces=True, api="LaunchTemplateName"),
        "namePrefix": string(replaces=True, api=None, item=None),
        "description": string(api="VersionDescription"),
        "updateDefaultVersion": boolean(api=None, item=None),
        **_TEMPLATE_DATA,
    },
    outputs={
        "arn": arn("launch-template/$id"),
        "defaultVersion": Output(item="DefaultVersionNumber", kind=Kind.INTEGER),
        "latestVersion": Output(item="LatestVersionNumber", kind=Kind.INTEGER),
    },
    create=Create(operation="CreateLaunchTemplate", request=_template_request, item="LaunchTemplate"),
    describe=Describe(
        operation="DescribeLaunchTemplates",
        by={"LaunchTemplateIds": ["$id"]},
        items="LaunchTemplates",
        identity="LaunchTemplateId",
        among={"LaunchTemplateNames": ["$name"]},
    ),
    extend=_extend_template,
    updates=(Update(frozenset({*_TEMPLATE_DATA, "description"}), _new_version),),
    changing=frozenset({"latestVersion", "defaultVersion"}),
    delete=(Call("DeleteLaunchTemplate", {"LaunchTemplateId": "$id"}),),
    tagging=ec2_tagging("launch-template"),
    naming=Naming(longest=_TEMPLATE_NAME_LENGTH),
    unique_by=("name",),
    refused=dict.fromkeys(
        ("networkInterfaces", "defaultVersion", "placement", "instanceRequirements"), "not in its table"
    ),
)


def _instance_request(inputs: Properties, request: Properties) -> Properties:
    """Ask for exactly one instance; nested members get the API's names."""
    made = {**request, "MinCount": 1, "MaxCount": 1}
    template = inputs.get("launchTemplate")
    if template:
        made["LaunchTemplate"] = {
            "LaunchTemplateId": template.get("id"),
            "LaunchTemplateName": None if template.get("id") else template.get("name"),
            "Version": template.get("version"),
        }
    if inputs.get("metadataOptions"):
        made["MetadataOptions"] = to_api(inputs["metadataOptions"])
    return made


def _extend_instance(work: Work, item: Properties, _new: bool) -> Properties:
    """Add what `DescribeInstances` leaves out or says in another form."""
    tags = {tag["Key"]: tag["Value"] for tag in item.get("Tags") or []}
    found = work.call("DescribeInstanceAttribute", {"InstanceId": work.id, "Attribute": "userData"})
    encoded = (found.get("UserData") or {}).get("Value")
    profile = (item.get("IamInstanceProfile") or {}).get("Arn", "")
    extended = {
        **item,
        "UserData": base64.b64decode(encoded).decode(errors="replace") if encoded else None,
        "Profile": profile.rsplit("/", 1)[-1] or None,
        "Options": lower_camel(
            {key: value for key, value in (item.get("MetadataOptions") or {}).items() if key != "State"}
        ),
    }
    if "aws:ec2launchtemplate:id" in tags:
        extended["Template"] = _template_of(work, tags)
    return extended


def _template_of(work: Work, tags: Properties) -> Properties:
    """Return the instance's template in the words of the program, which may name it instead."""
    said = work.inputs.get("launchTemplate") or work.state.get("launchTemplate") or {}
    seen = {"id": tags["aws:ec2launchtemplate:id"], "version": tags["aws:ec2launchtemplate:version"]}
    return {**({"name": said["name"]} if said.get("name") else {}), **seen} if said.get("id") or not said else {
        "name": said.get("name"), "version": seen["version"]}  # fmt: skip


def _set_groups(work: Work) -> None:
    groups = work.inputs.get("vpcSecurityGroupIds")
    if groups:
        work.call("ModifyInstanceAttribute", {"InstanceId": work.id, "Groups": groups})


def _set_profile(work: Work) -> None:
    """Give the instance another profile, or its first, or none."""
    wanted = work.inputs.get("iamInstanceProfile")
    by = {"Filters": [{"Name": "instance-id", "Values": [work.id]}]}
    found = work.call("DescribeIamInstanceProfileAssociations", by)["IamInstanceProfileAssociations"]
    now = [entry["AssociationId"] for entry in found if entry["State"] in {"associated", "associating"}]
    if wanted and now:
        work.call(
            "ReplaceIamInstanceProfileAssociation",
            {"AssociationId": now[0], "IamInstanceProfile": {"Name": wanted}},
        )
    elif wanted:
        request = {"InstanceId": work.id, "IamInstanceProfile": {"Name": wanted}}
        work.call("AssociateIamInstanceProfile", request)
    elif now:
        work.call("DisassociateIamInstanceProfile", {"AssociationId": now[0]})


def _set_metadata_options(work: Work) -> None:
    options = work.inputs.get("metadataOptions")
    if options:
        work.call("ModifyInstanceMetadataOptions", {"InstanceId": work.id, **to_api(options)})


_INSTANCES = described(
    "DescribeInstances", "Reservations[].Instances[]", "InstanceId", among={"subnet-id": "$subnetId"}
)

INSTANCE = ResourceType(
    name="aws:ec2/instance:Instance",
    service="ec2",
    properties={
        **COMMON,
        "ami": string(replaces=True, computed=True, api="ImageId"),
        "instanceType": string(replaces=True, computed=True),
        "subnetId": string(replaces=True, computed=True),
        "privateIp": string(replaces=True, computed=True, api="PrivateIpAddress"),
        "keyName": string(replaces=True, computed=True),
        "vpcSecurityGroupIds": strings(
            computed=True, api="SecurityGroupIds", item="SecurityGroups[].GroupId"
        ),
        "iamInstanceProfile": string(computed=True, api="IamInstanceProfile.Name", item="Profile"),
        # Replaced whatever the new version changes; the official provider replaces for most of what it can hold.
        "launchTemplate": Property(kind=Kind.OBJECT, replaces=True, api="LaunchTemplate", item="Template"),
        "metadataOptions": Property(kind=Kind.OBJECT, computed=True, api="MetadataOptions", item="Options"),
        "userData": string(replaces=True, computed=True),
        "userDataReplaceOnChange": boolean(api=None, item=None, default=False),
    },
    outputs={
        "arn": arn("instance/$id"),
        "availabilityZone": Output(item="Placement.AvailabilityZone"),
        "instanceState": Output(item="State.Name"),
        "primaryNetworkInterfaceId": Output(item="NetworkInterfaces[0].NetworkInterfaceId"),
        "privateDns": Output(item="PrivateDnsName"),
        "publicIp": Output(item="PublicIpAddress"),
    },
    create=Create(operation="RunInstances", request=_instance_request, item="Instances[0]"),
    describe=Describe(
        operation=_INSTANCES.operation,
        by=_INSTANCES.by,
        items=_INSTANCES.items,
        identity=_INSTANCES.identity,
        among=_INSTANCES.among,
        gone="State.Name == 'terminated' || State.Name == 'shutting-down'",
    ),
    extend=_extend_instance,
    ready=Wait(path="State.Name", until="running", failed=_ENDED),
    updates=(
        Update(frozenset({"vpcSecurityGroupIds"}), _set_groups),
        Update(frozenset({"iamInstanceProfile"}), _set_profile),
        Update(frozenset({"metadataOptions"}), _set_metadata_options),
    ),
    delete=(Call("TerminateInstances", {"InstanceIds": ["$id"]}),),
    deleted=Wait(path="State.Name", until="terminated"),
    delete_timeout_s=1200,
    tagging=ec2_tagging("instance"),
    refused=dict.fromkeys(
        (
            "rootBlockDevice",
            "ebsBlockDevices",
            "networkInterfaces",
            "volumeTags",
            "associatePublicIpAddress",
            "userDataBase64",
        ),
        "describe it in the launch template, or leave it out",
    ),
)


def _modify_volume(work: Work) -> None:
    names = {"size": "Size", "type": "VolumeType", "iops": "Iops", "throughput": "Throughput"}
    changed = {
        member: work.inputs[name]
        for name, member in names.items()
        if work.inputs.get(name) is not None and work.inputs[name] != work.state.get(name)
    }
    work.call("ModifyVolume", {"VolumeId": work.id, **changed})


def _shrinks(state: Properties, news: Properties) -> frozenset[str]:
    """Say that a smaller size needs another volume: EBS volumes only grow."""
    have, want = state.get("size"), news.get("size")
    is_smaller = isinstance(have, int) and isinstance(want, int) and want < have
    return frozenset({"size"}) if is_smaller else frozenset()


VOLUME = ResourceType(
    name="aws:ebs/volume:Volume",
    service="ec2",
    properties={
        **COMMON,
        "availabilityZone": string(required=True, replaces=True),
        "size": integer(computed=True),
        "type": string(computed=True, api="VolumeType"),
        "iops": integer(computed=True),
        "throughput": integer(computed=True),
        "encrypted": boolean(replaces=True, computed=True),
        "kmsKeyId": string(replaces=True, computed=True),
        "snapshotId": string(replaces=True, computed=True),
        "finalSnapshot": boolean(api=None, item=None, default=False),
    },
    outputs={"arn": arn("volume/$id"), "createTime": Output(item="CreateTime")},
    create=Create(operation="CreateVolume", item="@"),
    describe=described(
        "DescribeVolumes", "Volumes", "VolumeId", among={"availability-zone": "$availabilityZone"}
    ),
    # AWS calls it `available` or, once attached, `in-use`; both are ready, so only `creating` is waited for.
    updates=(Update(frozenset({"size", "type", "iops", "throughput"}), _modify_volume),),
    replaces_also=_shrinks,
    delete=(Call("DeleteVolume", {"VolumeId": "$id"}),),
    delete_timeout_s=600,
    tagging=ec2_tagging("volume"),
    refused={"finalSnapshot": "snapshots are not in its table", "multiAttachEnabled": "not in its table"},
)


def attachment_id(device: str, volume: str, instance: str) -> str:
    """Return Terraform's id of an attachment: `vai-` + CRC-32 of `device-instance-volume-`.

    Source: terraform-provider-aws, internal/service/ec2/ebs_volume_attachment.go.
    """
    return f"vai-{crc32(f'{device}-{instance}-{volume}-'.encode())}"


def _parse_attachment(text: str) -> Properties:
    device, _, rest = text.partition(":")
    volume, _, instance = rest.partition(":")
    if not device or not volume or not instance:
        raise ValueError("an attachment is imported as DEVICE_NAME:VOLUME_ID:INSTANCE_ID")
    return {"deviceName": device, "volumeId": volume, "instanceId": instance}


def _stop_if_asked(work: Work) -> None:
    """Stop the instance before its volume goes, so that nothing is cut off in the middle of a write."""
    if not work.state.get("stopInstanceBeforeDetaching"):
        return
    work.call(
        "StopInstances", {"InstanceIds": [work.state["instanceId"]]}, frozenset({"IncorrectInstanceState"})
    )
    attempt = 0
    while _state_of_instance(work) not in {"stopped", "terminated"} and work.patience.nap(
        attempt, base_s=0.1
    ):
        attempt += 1


def _state_of_instance(work: Work) -> str:
    found = work.call("DescribeInstances", {"InstanceIds": [work.state["instanceId"]]})["Reservations"]
    return str(found[0]["Instances"][0]["State"]["Name"]) if found else "terminated"


_ATTACHMENT = {"VolumeId": "$volumeId", "InstanceId": "$instanceId", "Device": "$deviceName"}

VOLUME_ATTACHMENT = ResourceType(
    name="aws:ec2/volumeAttachment:VolumeAttachment",
    service="ec2",
    properties={
        "region": REGION,
        "deviceName": string(required=True, replaces=True, api="Device"),
        "volumeId": string(required=True, replaces=True),
        "instanceId": string(required=True, replaces=True),
        "stopInstanceBeforeDetaching": boolean(api=None, item=None),
        "forceDetach": boolean(api=None, item=None),
        "skipDestroy": boolean(api=None, item=None),
    },
    create=Create(operation="AttachVolume", echoes=True),
    describe=Describe(
        operation="DescribeVolumes", by={"VolumeIds": ["$volumeId"]}, items="Volumes[].Attachments[]"
    ),
    keys=("deviceName", "volumeId", "instanceId"),
    make_id=lambda known: attachment_id(known["deviceName"], known["volumeId"], known["instanceId"]),
    parse_import=_parse_attachment,
    delete=(_stop_if_asked, Call("DetachVolume", _ATTACHMENT, _DETACHED)),
    unique_by=("volumeId",),
)

TYPES = (LAUNCH_TEMPLATE, INSTANCE, VOLUME, VOLUME_ATTACHMENT)
