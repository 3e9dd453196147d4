"""The table: log groups, and the flow logs that fill them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mutx_sandbox.aws.ec2 import COMMON, arn, described
from mutx_sandbox.aws.resource import Call, Create, Describe, Naming, ResourceType, Tagging, Update
from mutx_sandbox.aws.tags import ec2_tagging
from mutx_sandbox.bridge.properties import boolean, integer, string
from mutx_sandbox.bridge.values import Properties, Value

if TYPE_CHECKING:
    from mutx_sandbox.aws.work import Work

_GROUP_NAME_LENGTH = 512
_GROUP_ARN = "log-group:$name"


def _set_retention(work: Work) -> None:
    days = work.inputs.get("retentionInDays")
    if days:
        work.call("PutRetentionPolicy", {"logGroupName": work.id, "retentionInDays": days})
    else:
        work.call("DeleteRetentionPolicy", {"logGroupName": work.id})


def _add_tags(work: Work, tags: Value) -> None:
    work.call("TagResource", {"resourceArn": _group_arn(work), "tags": dict(tags)})


def _remove_tags(work: Work, keys: list[str]) -> None:
    work.call("UntagResource", {"resourceArn": _group_arn(work), "tagKeys": keys})


def _extend_group(work: Work, item: Properties, _new: bool) -> Properties:
    """Add the tags, which the logs API keeps apart."""
    answer = work.call("ListTagsForResource", {"resourceArn": _group_arn(work)})
    return {**item, "tags": answer.get("tags") or {}}


def _group_arn(work: Work) -> str:
    session = work.session
    return f"arn:{session.partition}:logs:{work.region}:{session.account_id}:log-group:{work.id}"


def _delete_group(work: Work) -> None:
    if not work.state.get("skipDestroy"):
        work.call("DeleteLogGroup", {"logGroupName": work.id})


LOG_GROUP = ResourceType(
    name="aws:cloudwatch/logGroup:LogGroup",
    service="logs",
    properties={
        **COMMON,
        "name": string(replaces=True, api="logGroupName"),
        "namePrefix": string(replaces=True, api=None, item=None),
        "retentionInDays": integer(api=None, item="retentionInDays", default=0),
        "kmsKeyId": string(replaces=True, api="kmsKeyId"),
        "logGroupClass": string(
            replaces=True, computed=True, api="logGroupClass", item='logGroupClass || `"STANDARD"`'
        ),
        "skipDestroy": boolean(api=None, item=None, default=False),
    },
    outputs={"arn": arn(_GROUP_ARN, "logs")},
    create=Create(operation="CreateLogGroup", echoes=True),
    describe=Describe(
        operation="DescribeLogGroups",
        by={"logGroupNamePrefix": "$id"},
        items="logGroups",
        identity="logGroupName",
        among={"logGroupNamePrefix": "$name"},
    ),
    make_id=lambda known: str(known["name"]),
    extend=_extend_group,
    updates=(Update(frozenset({"retentionInDays"}), _set_retention),),
    delete=(_delete_group,),
    tagging=Tagging(
        put=lambda request, tags: request.update(tags=dict(tags)),
        add=_add_tags,
        remove=_remove_tags,
        read="tags",
    ),
    naming=Naming(longest=_GROUP_NAME_LENGTH),
    unique_by=("name",),
)

_LOGGED = {"vpcId": "VPC", "subnetId": "Subnet", "eniId": "NetworkInterface"}


def _flow_log_request(inputs: Properties, request: Properties) -> Properties:
    """Say what is logged as id and type."""
    for name, kind in _LOGGED.items():
        if inputs.get(name):
            request |= {"ResourceIds": [inputs[name]], "ResourceType": kind}
    return request


def _validate_flow_log(inputs: Properties) -> list[tuple[str, str]]:
    if sum(1 for name in _LOGGED if inputs.get(name)) != 1:
        return [("vpcId", f"exactly one of {', '.join(_LOGGED)} is needed")]
    return []


def _resource_of(prefix: str) -> str:
    return f"ResourceId && starts_with(ResourceId, '{prefix}-') && ResourceId || null"


FLOW_LOG = ResourceType(
    name="aws:ec2/flowLog:FlowLog",
    service="ec2",
    properties={
        **COMMON,
        "vpcId": string(replaces=True, api=None, item=_resource_of("vpc")),
        "subnetId": string(replaces=True, api=None, item=_resource_of("subnet")),
        "eniId": string(replaces=True, api=None, item=_resource_of("eni")),
        "trafficType": string(replaces=True),
        "logDestination": string(
            replaces=True, computed=True, normal=lambda value: str(value).removesuffix(":*")
        ),
        "logDestinationType": string(replaces=True, default="cloud-watch-logs"),
        "iamRoleArn": string(replaces=True, api="DeliverLogsPermissionArn"),
        "logFormat": string(replaces=True, computed=True),
        "maxAggregationInterval": integer(replaces=True, default=600),
    },
    outputs={"arn": arn("vpc-flow-log/$id")},
    create=Create(operation="CreateFlowLogs", request=_flow_log_request, id="FlowLogIds[0]"),
    describe=described("DescribeFlowLogs", "FlowLogs", "FlowLogId"),
    delete=(Call("DeleteFlowLogs", {"FlowLogIds": ["$id"]}),),
    tagging=ec2_tagging("vpc-flow-log"),
    validate=_validate_flow_log,
    unique_by=(*_LOGGED, "logDestination"),
)

TYPES = (LOG_GROUP, FLOW_LOG)
