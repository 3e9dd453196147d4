"""Entry point for `pulumi … --policy-pack stacks/policy`: the rules as a CrossGuard pack. Nothing else lives here."""

from mutx_infra.stacks.policy.pack import make_pack

make_pack()
