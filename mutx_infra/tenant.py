"""What an operator says about a tenant: a few lines are enough, everything else has a default."""

from __future__ import annotations

import unicodedata
from enum import StrEnum
from ipaddress import IPv4Network
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from mutx_infra.addressing import MAX_ZONES, check_block
from mutx_infra.byok import Byok
from mutx_infra.guardrail import Guardrail

RESERVED_TAG_PREFIXES = ("aws:", "mutx:")
RESERVED_TAGS = frozenset({"Name"})
MAX_TAGS = 40
"""AWS allows 50 a resource; ten are kept for the toolkit's own."""


class Tier(StrEnum):
    """How much a tenant gets; `TIERS` says what each means."""

    STARTER = "starter"
    STANDARD = "standard"
    DEDICATED = "dedicated"
    PLATFORM = "platform"
    """Of the platform's own stack, and of no tenant."""


class TierProfile(BaseModel):
    """What a tier stands for.

    Attributes:
        zone_count: availability zones used when the spec names none.
        nat_per_zone: True for one NAT gateway in each zone, False for one in the first zone.
        interface_endpoints: True where SSM, KMS and logs are reached inside the VPC, False where by the proxy in mgmt.
    """

    model_config = ConfigDict(frozen=True)

    zone_count: int
    nat_per_zone: bool
    interface_endpoints: bool


TIERS: dict[Tier, TierProfile] = {
    Tier.STARTER: TierProfile(zone_count=1, nat_per_zone=False, interface_endpoints=False),
    Tier.STANDARD: TierProfile(zone_count=2, nat_per_zone=False, interface_endpoints=True),
    Tier.PLATFORM: TierProfile(zone_count=2, nat_per_zone=False, interface_endpoints=True),
    Tier.DEDICATED: TierProfile(zone_count=3, nat_per_zone=True, interface_endpoints=True),
}


TENANT_TIERS = tuple(tier for tier in Tier if tier is not Tier.PLATFORM)
PLATFORM_ID = "platform"
"""The platform is built like a tenant, with a tier of its own; no tenant may be called so."""


class ContactRole(StrEnum):
    """What a contact is asked about."""

    BILLING = "billing"
    SECURITY = "security"
    TECHNICAL = "technical"


def _composed(text: str) -> str:
    """Return the text in NFC: one spelling, whatever the editor; AWS takes no combining marks in tags."""
    return unicodedata.normalize("NFC", text)


def _printable(text: str) -> str:
    """Refuse what a reader cannot see: control, format (zero width, bidi) and unassigned characters."""
    for character in text:
        if unicodedata.category(character)[0] == "C" or unicodedata.category(character) in {"Zl", "Zp"}:
            raise ValueError(f"holds the invisible character U+{ord(character):04X}")
    if text != text.strip():
        raise ValueError("starts or ends with white space")
    return text


def _tag_text(text: str) -> str:
    """Accept what every AWS service accepts in a tag; IAM is the strictest of them."""
    for character in text:
        if unicodedata.category(character)[0] not in "LNZ" and character not in "_.:/=+-@":
            raise ValueError(
                f"{character!r} is not allowed in an AWS tag (letters, digits, spaces and _.:/=+-@ are)"
            )
    return text


TenantId = Annotated[
    str,
    Field(
        min_length=2,
        max_length=63,
        pattern=r"^[a-z](-?[a-z0-9])*$",
        description="Lower-case DNS label; part of every outward name, so it never changes.",
        examples=["acme"],
    ),
]
Region = Annotated[
    str,
    Field(
        max_length=32,
        pattern=r"^[a-z]{2}(-[a-z]+)+-[1-9]$",
        description="AWS region of everything the tenant has; it never changes.",
        examples=["eu-west-1"],
    ),
]
Zone = Annotated[
    str, Field(max_length=40, pattern=r"^[a-z]{2}(-[a-z]+)+-[1-9][a-z]$", examples=["eu-west-1a"])
]
AccountId = Annotated[str, Field(pattern=r"^[0-9]{12}$", examples=["123456789012"])]
_Visible = (AfterValidator(_composed), AfterValidator(_printable))
Zones = Annotated[
    tuple[Zone, ...], Field(min_length=1, max_length=MAX_ZONES, json_schema_extra={"uniqueItems": True})
]
Email = Annotated[
    str,
    Field(max_length=254, pattern=r"^[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+$", examples=["ann@example.com"]),
    *_Visible,
]
People = Annotated[tuple[Email, ...], Field(max_length=200, json_schema_extra={"uniqueItems": True})]
"""Users of the tailnet, by the addresses that they log in with."""
DisplayName = Annotated[str, Field(min_length=1, max_length=120), *_Visible]
TagKey = Annotated[str, Field(min_length=1, max_length=128), *_Visible, AfterValidator(_tag_text)]
TagValue = Annotated[str, Field(max_length=256), *_Visible, AfterValidator(_tag_text)]
Block = Annotated[
    IPv4Network,
    WithJsonSchema({"type": "string", "pattern": r"^[0-9.]+/[0-9]+$", "examples": ["10.0.1.0/24"]}),
]


class Contact(BaseModel):
    """A person who answers for the tenant."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    email: Email
    role: ContactRole = ContactRole.TECHNICAL
    name: DisplayName | None = None


class Archive(BaseModel):
    """Where the platform's log archive lives: in an account that holds nothing else.

    Attributes:
        account: entered by the role of the environment profile, which must name the account as well.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    account: Annotated[
        AccountId,
        Field(
            description="AWS account of archive buckets and their key; it never changes once they are made."
        ),
    ]


class TenantSpec(BaseModel):
    """One tenant as its operator describes it.

    Only `id` and `region` are required. What is left out is decided at allocation and written into the lock
    file beside the spec.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, title="mutx-infra tenant")

    id: TenantId
    region: Region
    tier: Tier = Field(
        default=Tier.STARTER,
        validate_default=True,
        description="starter: 1 zone; standard: 2; dedicated: 3, NAT in each; platform: the shared stack alone.",
    )
    name: DisplayName | None = Field(default=None, description="How people call the tenant; any script.")
    account: AccountId | None = Field(
        default=None,
        description="AWS account; quoted, so that YAML keeps its leading zeros. Default: the environment's.",
    )
    zones: Zones | None = Field(
        default=None,
        description="Availability zones by name. Default: the region's first ones, as many as the tier has.",
    )
    cidr: Block | None = Field(
        default=None, description="The VPC's block. Default: a free one from the pool."
    )
    tags: Annotated[dict[TagKey, TagValue], Field(max_length=MAX_TAGS)] = Field(
        default_factory=dict,
        description="Extra tags for every resource; `mutx:`, `aws:` and `Name` are taken.",
    )
    contacts: Annotated[tuple[Contact, ...], Field(max_length=20)] = Field(
        default=(), description="Who answers for the tenant."
    )
    administrators: People = Field(
        default=(), description="Who reaches the tenant's own Vault over the tailnet, by login."
    )
    clients: People = Field(
        default=(), description="Who reaches the control plane's API over the tailnet, by login."
    )
    archive: Archive | None = Field(
        default=None,
        description="The platform's alone: the account of its log archive. Default: the platform's own account.",
    )
    byok: Byok | None = Field(
        default=None,
        description="What the tenant brings for its own Vault. Without it no Vault is brought up.",
    )
    guardrail: Guardrail | None = Field(
        default=None,
        description="Where the tenant's agents may go, and who is the judge. Default: nowhere, and none.",
    )

    @property
    def zone_count(self) -> int:
        """Number of availability zones that the tenant's network spans."""
        return len(self.zones) if self.zones else TIERS[self.tier].zone_count

    @field_validator("tier")
    @classmethod
    def _tier_fits_the_id(cls, tier: Tier, info: ValidationInfo) -> Tier:
        is_platform = info.data.get("id") == PLATFORM_ID
        if is_platform is not (tier is Tier.PLATFORM):
            raise ValueError(
                f"the tier {Tier.PLATFORM} and the id {PLATFORM_ID} belong together: the shared stack, no tenant"
            )
        return tier

    @field_validator("zones")
    @classmethod
    def _zones_are_distinct(cls, zones: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if zones is not None and len(set(zones)) != len(zones):
            raise ValueError("names a zone twice")
        return zones

    @field_validator("zones")
    @classmethod
    def _zones_lie_in_the_region(
        cls, zones: tuple[str, ...] | None, info: ValidationInfo
    ) -> tuple[str, ...] | None:
        region = info.data.get("region")
        for zone in zones or ():
            if region is not None and zone[:-1] != region:
                raise ValueError(f"{zone} is not a zone of {region}")
        return zones

    @field_validator("administrators", "clients")
    @classmethod
    def _people_are_distinct(cls, people: tuple[str, ...]) -> tuple[str, ...]:
        seen: set[str] = set()
        for address in people:
            if address.casefold() in seen:
                raise ValueError(f"names {address} twice")
            seen.add(address.casefold())
        return people

    @field_validator("tags", mode="before")
    @classmethod
    def _tags_differ_in_more_than_case(cls, tags: object) -> object:
        """IAM takes `Team` and `team` for one tag and refuses both; EC2 would keep both."""
        seen: dict[str, str] = {}
        for key in tags if isinstance(tags, dict) else ():
            other = seen.setdefault(unicodedata.normalize("NFC", str(key)).casefold(), str(key))
            if other != key:
                raise ValueError(f"the tags {other!r} and {key!r} are the same to IAM")
        return tags

    @field_validator("tags")
    @classmethod
    def _tags_are_free(cls, tags: dict[str, str]) -> dict[str, str]:
        for key in tags:
            if key in RESERVED_TAGS or key.lower().startswith(RESERVED_TAG_PREFIXES):
                raise ValueError(f"the tag {key!r} belongs to the toolkit or to AWS")
        return tags

    @field_validator("archive")
    @classmethod
    def _only_the_platform_has_an_archive(
        cls, archive: Archive | None, info: ValidationInfo
    ) -> Archive | None:
        if archive is not None and info.data.get("tier", Tier.PLATFORM) is not Tier.PLATFORM:
            raise ValueError(
                f"is for the tier {Tier.PLATFORM} alone: all tenants share the platform's log archive"
            )
        return archive

    @field_validator("byok")
    @classmethod
    def _the_platform_brings_none(cls, byok: Byok | None, info: ValidationInfo) -> Byok | None:
        if byok is not None and info.data.get("tier") is Tier.PLATFORM:
            raise ValueError(f"is a tenant's: the Vault of the tier {Tier.PLATFORM} is the platform's own")
        return byok

    @field_validator("guardrail")
    @classmethod
    def _the_platform_has_none(cls, guardrail: Guardrail | None, info: ValidationInfo) -> Guardrail | None:
        if guardrail is not None and info.data.get("tier") is Tier.PLATFORM:
            raise ValueError(f"is a tenant's: the tier {Tier.PLATFORM} has no agents to guard")
        return guardrail

    @field_validator("cidr")
    @classmethod
    def _cidr_can_be_split(cls, cidr: IPv4Network | None, info: ValidationInfo) -> IPv4Network | None:
        if cidr is None:
            return None
        data = info.data
        zones = data.get("zones")
        check_block(cidr, len(zones) if zones else TIERS[data.get("tier", Tier.STARTER)].zone_count)
        return cidr
