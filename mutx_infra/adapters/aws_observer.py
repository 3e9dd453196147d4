"""The live tenant in AWS's words: network, hosts, keys, roles and logs, asked for side by side. Reads only."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

from mutx_infra.adapters.aws_facts import Inventory, facts_of, logical_names
from mutx_infra.adapters.aws_host_facts import BucketItem, HostInventory, KeyItem, RoleItem, host_facts
from mutx_infra.adapters.aws_listing import GLOBAL_REGION, AwsListing, tenant_filter
from mutx_infra.adapters.aws_session import translated
from mutx_infra.naming import key_alias
from mutx_infra.plan import TenantPlan
from mutx_infra.verification import TenantFacts

_NETWORK_PARTS = tuple(field.name for field in fields(Inventory) if field.name != "vpcs")
_HOST_PARTS = tuple(field.name for field in fields(HostInventory) if field.name != "names")
_AT_ONCE = 12


class AwsObserver:
    """Observes one tenant."""

    def __init__(self, listing: AwsListing) -> None:
        self._listing = listing

    def observe(self, plan: TenantPlan) -> TenantFacts:
        """Return the live tenant of the plan, whoever made what is there."""
        with translated("show the tenant's network"):
            vpcs = self._listing.all("ec2", plan.region, "describe_vpcs", "Vpcs", tenant_filter(plan.tenant))
            ids = [vpc["VpcId"] for vpc in vpcs]
            if not ids:
                return TenantFacts()
            # Nested jobs would wait for workers that wait for them: these use a pool of their own.
            with ThreadPoolExecutor(_AT_ONCE) as pool, ThreadPoolExecutor(_AT_ONCE) as details:
                jobs = {**self._network_jobs(plan, ids), **self._host_jobs(plan, ids, details)}
                results = {name: pool.submit(job) for name, job in jobs.items()}
                found = {name: future.result() for name, future in results.items()}
        network = Inventory(vpcs=vpcs, **{name: found[name] for name in _NETWORK_PARTS})
        names = logical_names(plan.tenant, network)
        hosts = HostInventory(names=names, **{name: found[name] for name in _HOST_PARTS})
        return facts_of(network, names).model_copy(update=host_facts(plan, hosts))

    def _network_jobs(self, plan: TenantPlan, vpcs: list[str]) -> dict[str, Callable[[], Any]]:
        """Return what to ask about the network, by part of the `Inventory`."""
        ec2, inside = self._listing.session.client("ec2", plan.region), [{"Name": "vpc-id", "Values": vpcs}]

        def listing(operation: str, key: str, filters: list[dict[str, Any]] | None) -> Callable[[], Any]:
            return lambda: self._listing.all("ec2", plan.region, operation, key, filters)

        return {
            "subnets": listing("describe_subnets", "Subnets", inside),
            "tables": listing("describe_route_tables", "RouteTables", inside),
            "acls": listing("describe_network_acls", "NetworkAcls", inside),
            "groups": listing("describe_security_groups", "SecurityGroups", inside),
            "gateways": listing(
                "describe_internet_gateways",
                "InternetGateways",
                [{"Name": "attachment.vpc-id", "Values": vpcs}],
            ),
            "nats": listing("describe_nat_gateways", "NatGateways", inside),
            "endpoints": listing("describe_vpc_endpoints", "VpcEndpoints", inside),
            "flow_logs": listing("describe_flow_logs", "FlowLogs", [{"Name": "resource-id", "Values": vpcs}]),
            "prefix_lists": listing("describe_prefix_lists", "PrefixLists", None),
            "dns": lambda: {
                (vpc, name): ec2.describe_vpc_attribute(VpcId=vpc, Attribute=name)[
                    name[0].upper() + name[1:]
                ]["Value"]
                for vpc in vpcs
                for name in ("enableDnsSupport", "enableDnsHostnames")
            },
            "log_groups": lambda: self._listing.log_groups(plan.tenant, plan.region),
        }

    def _host_jobs(
        self, plan: TenantPlan, vpcs: list[str], pool: ThreadPoolExecutor
    ) -> dict[str, Callable[[], Any]]:
        """Return what to ask about hosts, keys and roles, by part of the `HostInventory`."""
        ec2 = self._listing.session.client("ec2", plan.region)
        inside = [{"Name": "vpc-id", "Values": vpcs}]

        listed = pool.submit(self._listing.instances, plan.region, inside)

        def user_data() -> dict[str, str]:
            instances = [host["InstanceId"] for host in listed.result()]
            answers = pool.map(
                lambda identity: ec2.describe_instance_attribute(InstanceId=identity, Attribute="userData"),
                instances,
            )
            return {
                identity: str((answer.get("UserData") or {}).get("Value", ""))
                for identity, answer in zip(instances, answers, strict=True)
            }

        return {
            "instances": listed.result,
            "volumes": lambda: self._listing.all(
                "ec2", plan.region, "describe_volumes", "Volumes", tenant_filter(plan.tenant)
            ),
            "user_data": user_data,
            "keys": lambda: [key for account in plan.accounts for key in self._keys(plan, account, pool)],
            "roles": lambda: self._roles(plan, pool),
            "buckets": lambda: [
                found for account in plan.accounts for found in self._buckets(plan, account, pool)
            ],
        }

    def _keys(self, plan: TenantPlan, account: str, pool: ThreadPoolExecutor) -> list[KeyItem]:
        """Return the keys behind the tenant's aliases in one of the plan's accounts."""
        listing = self._listing_in(plan, account)
        kms = listing.session.client("kms", plan.region)
        aliases = [
            entry
            for entry in listing.all("kms", plan.region, "list_aliases", "Aliases")
            if entry["AliasName"].startswith(key_alias(plan.tenant, "")) and entry.get("TargetKeyId")
        ]

        def look(alias: dict[str, Any]) -> KeyItem:
            key = alias["TargetKeyId"]
            metadata = kms.describe_key(KeyId=key)["KeyMetadata"]
            is_usable = metadata["KeyState"] == "Enabled"
            return KeyItem(
                account=account,
                alias=alias["AliasName"],
                metadata=metadata,
                policy=kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"],
                rotates=is_usable and kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"],
            )

        return list(pool.map(look, aliases))

    def _listing_in(self, plan: TenantPlan, account: str) -> AwsListing:
        """Return the listing of one of the plan's accounts; our own is the plan's first."""
        if account == plan.account:
            return self._listing
        return AwsListing(self._listing.session.for_account(account))

    def _buckets(self, plan: TenantPlan, account: str, pool: ThreadPoolExecutor) -> list[BucketItem]:
        """Return the plan's buckets that exist in one of its accounts, with every setting."""
        wanted = [bucket.name for bucket in plan.buckets if bucket.account == account]
        if not wanted:
            return []
        s3 = self._listing_in(plan, account).session.client("s3", plan.region)

        def asked(operation: str, bucket: str) -> dict[str, Any]:
            try:
                return dict(getattr(s3, operation)(Bucket=bucket))
            except s3.exceptions.ClientError as exc:
                code = exc.response["Error"]["Code"]
                if code.startswith("NoSuch") or "NotFound" in code:
                    return {}
                raise

        def look(bucket: str) -> BucketItem:
            return BucketItem(
                account=account,
                name=bucket,
                versioning=asked("get_bucket_versioning", bucket),
                encryption=asked("get_bucket_encryption", bucket),
                public_access=asked("get_public_access_block", bucket),
                lock=asked("get_object_lock_configuration", bucket),
                lifecycle=asked("get_bucket_lifecycle_configuration", bucket),
                policy=asked("get_bucket_policy", bucket).get("Policy", ""),
            )

        existing = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
        return list(pool.map(look, [name for name in wanted if name in existing]))

    def _roles(self, plan: TenantPlan, pool: ThreadPoolExecutor) -> list[RoleItem]:
        """Return the roles below the tenant's IAM path with every document, and the boundary policy."""
        iam = self._listing.session.client("iam", GLOBAL_REGION)
        names = [role["RoleName"] for role in self._listing.below("list_roles", "Roles", plan.tenant)]

        def look(name: str) -> RoleItem:
            role = iam.get_role(RoleName=name)["Role"]
            inline = self._listing.all(
                "iam", GLOBAL_REGION, "list_role_policies", "PolicyNames", RoleName=name
            )
            attached = self._listing.all(
                "iam", GLOBAL_REGION, "list_attached_role_policies", "AttachedPolicies", RoleName=name
            )
            return RoleItem(
                name=name,
                trust=role["AssumeRolePolicyDocument"],
                boundary=(role.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn", ""),
                policies=[
                    iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
                    for policy in inline
                ],
                attached=tuple(sorted(policy["PolicyArn"] for policy in attached)),
            )

        def look_at_policy(policy: dict[str, Any]) -> RoleItem:
            version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])[
                "PolicyVersion"
            ]
            return RoleItem(
                name=policy["PolicyName"], trust={}, boundary="", policies=[version["Document"]], attached=()
            )

        roles = pool.map(look, names)
        policies = pool.map(look_at_policy, self._listing.below("list_policies", "Policies", plan.tenant))
        return [*roles, *policies]
