"""Entry point for `pulumi preview|up`: read the stack's config, build the plan. Nothing else lives here."""

from pathlib import Path

import pulumi
from mutx_infra.stacks.platform.program import build

from mutx_infra.adapters.spec_file import load_plan

config = pulumi.Config()
build(load_plan(Path(pulumi.get_root_directory(), config.require("spec"))))
