"""Entry point for `pulumi … --policy-pack stacks/policy`: the rules as a CrossGuard pack. Nothing else lives here."""

import os

from mutx_infra.stacks.policy.pack import end_with, make_pack

end_with(os.getppid())
make_pack()
