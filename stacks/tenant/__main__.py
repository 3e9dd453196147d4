"""Entry point for `pulumi preview|up|destroy`: read the stack's config, build the plan. Nothing else lives here."""

from pathlib import Path

import pulumi
from mutx_infra.stacks.tenant.program import build

from mutx_infra.adapters.spec_file import load_plan

config = pulumi.Config()
build(load_plan(Path(pulumi.get_root_directory(), config.require("spec"))))
