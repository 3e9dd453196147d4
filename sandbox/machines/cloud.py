"""What the sandbox's cloud says of its instances, by the API that any AWS has."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mutx_infra.adapters.aws_listing import GONE_STATES
from mutx_infra.adapters.aws_session import AwsSession, translated

_STS_REGION = "us-east-1"
_DEFAULT_HOPS = 1


@dataclass(frozen=True)
class CloudInstance:
    """One instance, asked anew for each answer: `metadata.InstanceFacts`."""

    session: AwsSession
    account: str
    region: str
    id: str

    def described(self) -> dict[str, Any]:
        """Return what `DescribeInstances` says of it, {} where it is gone."""
        with translated("describe an instance"):
            found = self._client("ec2").describe_instances(InstanceIds=[self.id])["Reservations"]
        instances = [instance for reservation in found for instance in reservation["Instances"]]
        return next((dict(i) for i in instances if i["State"]["Name"] not in GONE_STATES), {})

    def document(self) -> Mapping[str, str]:
        """Return the instance identity document, as far as machines ask for it."""
        instance = self.described()
        return {
            "accountId": self.account,
            "architecture": instance["Architecture"],
            "availabilityZone": instance["Placement"]["AvailabilityZone"],
            "imageId": instance["ImageId"],
            "instanceId": self.id,
            "instanceType": instance["InstanceType"],
            "pendingTime": _iso(instance["LaunchTime"]),
            "privateIp": instance["PrivateIpAddress"],
            "region": self.region,
            "version": "2017-09-30",
        }

    def user_data(self) -> bytes | None:
        """Return the user data, decoded."""
        with translated("read user data"):
            answer = self._client("ec2").describe_instance_attribute(InstanceId=self.id, Attribute="userData")
        value = answer.get("UserData", {}).get("Value")
        return base64.b64decode(value) if value else None

    def role(self) -> str | None:
        """Return the role of its instance profile."""
        profile = self.described().get("IamInstanceProfile", {}).get("Arn", "").rpartition("/")[2]
        if not profile:
            return None
        with translated("read an instance profile"):
            found = self._client("iam").get_instance_profile(InstanceProfileName=profile)
        roles = found["InstanceProfile"]["Roles"]
        return str(roles[0]["RoleName"]) if roles else None

    def credentials(self) -> Mapping[str, str]:
        """Assume the role, as EC2 does for the instance."""
        role = self.role()
        with translated("assume an instance's role"):
            arn = self._client("iam").get_role(RoleName=role)["Role"]["Arn"]
            answer = self._client("sts").assume_role(RoleArn=arn, RoleSessionName=self.id)["Credentials"]
        return {
            "Code": "Success",
            "LastUpdated": _iso(datetime.now(UTC)),
            "Type": "AWS-HMAC",
            "AccessKeyId": answer["AccessKeyId"],
            "SecretAccessKey": answer["SecretAccessKey"],
            "Token": answer["SessionToken"],
            "Expiration": _iso(answer["Expiration"]),
        }

    def hop_limit(self) -> int:
        """Return `HttpPutResponseHopLimit`."""
        return int(self.described().get("MetadataOptions", {}).get("HttpPutResponseHopLimit", _DEFAULT_HOPS))

    def _client(self, service: str) -> Any:  # noqa: ANN401 - botocore builds its classes at run time
        region = _STS_REGION if service in {"iam", "sts"} else self.region
        return self.session.for_account(self.account).client(service, region)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
