"""Write the reference pages that are made from the code; a unit test fails when one is stale.

Usage: .venv/bin/python tools/make_reference.py
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, get_args

import typer
from mutx_infra.cli.app import app

from mutx_infra import addressing, firewall
from mutx_infra.adapters.spec_file import LockFile, spec_skeleton
from mutx_infra.byok import AwsKmsSeal, Byok, StaticSeal, TransitSeal
from mutx_infra.flows import FLOWS, HOST_ROLES, LAYER_OF, PLATFORM_FLOWS, Flow, roles_of
from mutx_infra.guardrail import Guardrail, Judge, Waiver
from mutx_infra.hosts import ENDPOINT_SERVICES, PURPOSES, SHAPES, HostShape, log_group_plans
from mutx_infra.naming import security_group_name
from mutx_infra.tenant import TENANT_TIERS, TIERS, Archive, Contact, TenantSpec, Tier

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"
EXAMPLE_BLOCK = IPv4Network("10.0.1.0/24")
SPEC_OF_THE_EXAMPLE = ("acme", "eu-west-1", Tier.STARTER)

_MADE_FROM = "Made from {source} by `tools/make_reference.py`; edit that and run it again."
_SHARED_BY = 2
"""An option that more commands than this have is explained once."""


def pages() -> dict[str, str]:
    """Return each page's text by its file name in docs/reference."""
    return {
        "commands.md": _text(_commands()),
        "flow-table.md": _text(_flow_table()),
        "tenant-spec.md": _text(_tenant_spec()),
    }


def main() -> int:
    """Write the pages that have changed, and name them."""
    for name, text in pages().items():
        path = REFERENCE / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path.relative_to(REFERENCE.parent.parent)}\n")
    return 0


def _commands() -> Iterator[str]:
    found = dict(_walk(typer.main.get_command(app), "mutx-infra"))
    shared = _shared_options(found)
    yield "# Commands"
    yield _MADE_FROM.format(source="the command line itself (`cli/`, `sandbox/commands.py`)")
    yield (
        "Data goes to stdout, everything else to stderr; a JSON document has a `schema_version`. Every command has "
        "`--help`; exit statuses are in [exit-codes.md](exit-codes.md). `mutx-infra --install-completion` sets up the "
        "shell's completion, which knows the tenants' names."
    )
    yield "Options that several commands have:"
    yield _parameters(list(shared.values()))
    for path, command in sorted(found.items()):
        yield from _command(path, command, shared)


def _walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - Typer's own classes
    """Yield every command that does something, with its whole name."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, each in inner.items():
        yield from _walk(each, f"{path} {name}")


def _shared_options(commands: Mapping[str, Any]) -> dict[str, Any]:
    options = [p for command in commands.values() for p in command.params if p.param_type_name == "option"]
    spelled = Counter((option.opts[0], option.help) for option in options)
    return {o.opts[0]: o for o in options if spelled[o.opts[0], o.help] > _SHARED_BY}


def _command(path: str, command: Any, shared: Mapping[str, Any]) -> Iterator[str]:  # noqa: ANN401
    yield f"## {path}"
    yield " ".join(command.help.split())
    own = [p for p in command.params if p.name != "help" and p.opts[0] not in shared]
    if own:
        yield _parameters(sorted(own, key=lambda p: str(p.param_type_name)))
    also = [_code(p.opts[0]) for p in command.params if p.opts[0] in shared]
    if also:
        yield f"Also {', '.join(also)}."
    example = (command.epilog or "").removeprefix("Example: ")
    if example:
        yield f"    {example}"


def _parameters(parameters: Sequence[Any]) -> str:
    return _table(("option", "meaning", "default", "variable"), [_parameter(p) for p in parameters])


def _parameter(parameter: Any) -> tuple[str, ...]:  # noqa: ANN401
    if parameter.param_type_name == "argument":
        name = _code(str(parameter.metavar or parameter.name.upper()))
    else:
        spelled = [*parameter.opts, *parameter.secondary_opts]
        value = "" if parameter.is_flag else f" {_value_of(parameter)}"
        name = ", ".join(_code(f"{option}{value}") for option in spelled)
    return name, str(parameter.help or ""), _default(parameter), _code(parameter.envvar or "")


def _value_of(parameter: Any) -> str:  # noqa: ANN401
    kind = parameter.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(member.value) for member in kind)
    return str(parameter.metavar or ("FILE" if kind is Path else parameter.name.upper()))


def _default(parameter: Any) -> str:  # noqa: ANN401
    value = parameter.default
    if parameter.required:
        return "required"
    if value is None or value is False or callable(value):
        return ""
    if value is True:
        return _code(parameter.opts[0])
    return _code(str(value.value if isinstance(value, Enum) else value))


def _flow_table() -> Iterator[str]:
    layout = addressing.split_block(EXAMPLE_BLOCK, 1)
    yield "# Flow table"
    yield _MADE_FROM.format(source="`mutx_infra/flows.py` and `mutx_infra/firewall.py`")
    yield (
        "Every permitted flow is one row, and nothing else opens a port. Security groups, network ACLs, the hosts' "
        "own firewalls and the tailnet's grants are generated from the rows; *planned*: Vault listeners. A change to a "
        "row is a decision with a record: see [decision 0003](../decisions/0003-flow-table-additions.md)."
    )
    yield _rows(FLOWS)
    yield (
        "Rows over the tailnet make no security group rule and no ACL entry: the [tailnet's own "
        "policy](../how-to/run-the-tailnet.md) carries them. DNS, DHCP, instance metadata and time sync need no row, "
        "since neither security groups nor network ACLs filter them."
    )
    yield "## The platform's rows"
    yield "The platform's own network; it reaches tenants over the tailnet alone."
    yield _rows(PLATFORM_FLOWS)
    yield "## Where the roles stand"
    yield _table(
        ("role", "layer", "security group of tenant `acme`"),
        [(role, LAYER_OF[role], _code(security_group_name("acme", role))) for role in roles_of(FLOWS)],
    )
    yield "## Security group rules"
    yield (
        "Stateful: one egress rule at the source, one ingress rule at the destination. Peers are groups, never "
        f"addresses, except `{firewall.ANYWHERE}` for what leaves by NAT; no rule admits it."
    )
    yield _table(
        ("rule", "protocol", "port", "peer"),
        [
            (
                _code(rule.key),
                rule.protocol.upper(),
                str(rule.port),
                f"sg-{rule.peer_role}" if rule.peer_role else str(rule.peer_endpoint or rule.peer_cidr),
            )
            for rule in firewall.group_rules(FLOWS)
        ],
    )
    yield "## Network ACL entries"
    yield (
        f"Stateless, so replies have entries of their own. For the block {EXAMPLE_BLOCK} in one zone; 100 and up are "
        "flows inside the block, 900 denies the rest of the block, 1000 and up are flows that leave it."
    )
    yield _table(
        ("layer", "way", "number", "action", "protocol", "ports", "peer"),
        [
            (
                entry.layer,
                "out" if entry.egress else "in",
                str(entry.number),
                entry.action,
                "all" if entry.protocol == "-1" else entry.protocol.upper(),
                "all" if entry.protocol == "-1" else _ports(entry.from_port, entry.to_port),
                entry.cidr,
            )
            for entry in firewall.acl_entries(FLOWS, layout)
        ],
    )


def _tenant_spec() -> Iterator[str]:
    yield "# Tenant spec"
    yield _MADE_FROM.format(
        source="`mutx_infra/tenant.py`, `mutx_infra/addressing.py` and the spec's template"
    )
    yield (
        "One YAML file per tenant. Unknown fields, a wrong type or an invisible character are refused (exit 3) with "
        "file, line, field, reason and a hint, before anything is made. `mutx-infra spec schema` prints the JSON "
        "Schema."
    )
    definitions = TenantSpec.model_json_schema()["$defs"]
    yield _table(("field", "value", "default", "meaning"), _fields(TenantSpec, definitions))
    yield (
        "`id`, `region`, `account`, `zones` and `cidr` are fixed for the tenant's life: changing one is refused, and "
        "so is a tier with another number of zones."
    )
    yield "Each contact:"
    yield _table(("field", "value", "default", "meaning"), _fields(Contact, definitions))
    yield "The archive (refused in a tenant's spec):"
    yield _table(("field", "value", "default", "meaning"), _fields(Archive, definitions))
    yield "What the tenant brings for its Vault (refused in the platform's spec; fixed once the Vault is made):"
    yield _table(("field", "value", "default", "meaning"), _fields(Byok, definitions))
    for seal in (TransitSeal, AwsKmsSeal, StaticSeal):
        yield f"A seal of type {_code(get_args(seal.model_fields['type'].annotation)[0])}:"
        yield _table(("field", "value", "default", "meaning"), _fields(seal, definitions))
    yield (
        "[The guardrail](../how-to/guard-an-agent.md) (refused in the platform's spec); what is said of agents holds "
        "for all of them:"
    )
    yield _table(("field", "value", "default", "meaning"), _fields(Guardrail, definitions))
    yield "Its judge:"
    yield _table(("field", "value", "default", "meaning"), _fields(Judge, definitions))
    yield "That there is none:"
    yield _table(("field", "value", "default", "meaning"), _fields(Waiver, definitions))
    yield "## Tiers"
    yield _table(
        ("tier", "zones", "NAT gateways", "default block", "smallest block"),
        [
            (
                _code(tier),
                str(profile.zone_count),
                "one in each zone" if profile.nat_per_zone else "one",
                f"/{addressing.default_prefix_length(profile.zone_count)}",
                f"/{addressing.smallest_prefix_length(profile.zone_count)}",
            )
            for tier, profile in TIERS.items()
            if tier in TENANT_TIERS
        ],
    )
    yield (
        f"`zones:` may name up to {addressing.MAX_ZONES}. The tier also decides hosts and endpoints, below."
    )
    yield "## Hosts"
    yield (
        "Each on its own launch template: no public address, no key pair, instance metadata by token only, volumes "
        "under the tenant's keys. Data volumes outlive their host and are replaced only when told by name "
        "(`mutx-infra tenant create acme --replace data-vault-1`)."
    )
    yield _table(
        ("role", *map(str, TENANT_TIERS)),
        [(str(role), *(_shape(SHAPES[tier][role]) for tier in TENANT_TIERS)) for role in HOST_ROLES],
    )
    yield _table(
        ("", *map(str, TENANT_TIERS)),
        [("interface endpoints", *(_services(tier) for tier in TENANT_TIERS))],
    )
    yield "Where there is no interface endpoint, hosts reach AWS through the proxy in mgmt."
    yield "## Keys and logs"
    yield _table(
        ("KMS key", "for"),
        [(_code(f"alias/mutx/TENANT/{purpose}"), text) for purpose, text in PURPOSES.items()],
    )
    yield _table(
        ("log group", "kept", "control"),
        [
            (_code(group.name), f"{group.retention_days} days", group.control)
            for group in log_group_plans("TENANT")
        ],
    )
    yield "## How a block is cut"
    layout = addressing.split_block(EXAMPLE_BLOCK, 1)
    yield (
        f"{EXAMPLE_BLOCK} in one zone; AWS keeps five addresses of each subnet. The block is private (RFC 1918), "
        f"between /{addressing.LARGEST_PREFIX_LENGTH} and /{addressing.smallest_prefix_length(1)}, and not in "
        f"{', '.join(map(str, addressing.RESERVED_RANGES))}."
    )
    yield _table(
        ("layer", "block", "holds"),
        [(layer, str(area), _roles_in(layer)) for layer, area in layout.areas.items()],
    )
    yield "## Lock file"
    yield (
        "Written beside the spec as `<spec>.lock.yaml` by `mutx-infra tenant create`, and committed. See "
        "[decision 0006](../decisions/0006-lock-file-beside-the-spec.md)."
    )
    yield _table(
        ("field", "value", "default", "meaning"),
        _fields(LockFile, LockFile.model_json_schema().get("$defs", {}), _LOCK_MEANINGS),
    )
    yield "## A new spec"
    yield "As `mutx-infra spec init acme --region eu-west-1` writes it:"
    yield f"```yaml\n{spec_skeleton(*SPEC_OF_THE_EXAMPLE).rstrip()}\n```"


_LOCK_MEANINGS = {
    "version": "Version of this format.",
    "tenant": "Whose it is.",
    "account": "AWS account.",
    "region": "AWS region.",
    "block": "The VPC's block.",
    "zones": "Availability zones, in the order in which subnets take their share.",
    "plan": "Digest of the plan that was accepted with it.",
}


def _fields(
    model: Any,  # noqa: ANN401 - any pydantic model
    definitions: Mapping[str, Any],
    meanings: Mapping[str, str] | None = None,
) -> list[tuple[str, ...]]:
    schema = model.model_json_schema()
    required = set(schema.get("required", ()))
    return [
        (
            _code(name),
            _value(described, definitions),
            "required" if name in required else _shown_default(described.get("default")),
            (meanings or {}).get(name) or described.get("description", ""),
        )
        for name, described in schema["properties"].items()
    ]


def _value(described: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Say in words what a JSON Schema allows; patterns are left to `spec schema`."""
    (described,) = [each for each in described.get("anyOf", [described]) if each != {"type": "null"}]
    if "$ref" in described:
        described = definitions[described["$ref"].rsplit("/", 1)[-1]]
    if "const" in described or "enum" in described:
        return ", ".join(_code(str(value)) for value in described.get("enum", [described.get("const")]))
    if "oneOf" in described:
        return f"one of the seals {', '.join(map(_code, described['discriminator']['mapping']))}, as below"
    example = f", e.g. {_code(described['examples'][0])}" if "examples" in described else ""
    if described["type"] == "array":
        inner = _value(described["items"], definitions).replace("contact,", "contacts,")
        return f"list, at most {described['maxItems']}: {inner}"
    if "properties" in described:
        return f"{described['title'].lower()}, as below"
    if described["type"] == "object":
        return f"mapping of text to text, at most {described['maxProperties']}"
    limit = f", at most {described['maxLength']} characters" if "maxLength" in described else ""
    return f"text{limit}{example}"


def _shown_default(value: object) -> str:
    return "" if value in (None, {}, [], ()) else _code(str(value))


def _rows(flows: tuple[Flow, ...]) -> str:
    return _table(
        ("from", "to", "port", "over", "reason", "until"),
        [
            (
                flow.source,
                flow.destination,
                f"{', '.join(map(str, flow.ports))} {flow.protocol.upper()}",
                flow.carrier,
                flow.reason,
                "hand-over" if flow.before_hand_over_only else "",
            )
            for flow in flows
        ],
    )


def _shape(shape: HostShape) -> str:
    data = f", {shape.data_gib} GiB data" if shape.data_gib else ""
    return f"{shape.count} × {_code(shape.instance_type)}{data}"


def _services(tier: Tier) -> str:
    return ", ".join(ENDPOINT_SERVICES) if TIERS[tier].interface_endpoints else "none"


def _roles_in(layer: addressing.Layer) -> str:
    roles = [role for role in roles_of(FLOWS) if LAYER_OF[role] is layer]
    return ", ".join(roles) if roles else "NAT gateways only"


def _ports(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _text(parts: Iterator[str]) -> str:
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
