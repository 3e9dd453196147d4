"""Entry point for `pulumi preview|up`: read the profile that the stack's config names, ask its registry, build."""

from pathlib import Path

import pulumi
from mutx_infra.stacks.tailnet.program import build

from mutx_infra.bootstrap_tailnet import load_tailnet_plan

config = pulumi.Config()
build(load_tailnet_plan(Path(pulumi.get_root_directory(), config.require("environment"))))
