"""What `make setup` leaves behind: commands that find their imports compiled, whatever the shell says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from set_up import compile_command

from tests.support.specs import ACCOUNT

LIST = """
import sys
from mutx_infra.cli.app import run
sys.argv = ["mutx-infra", "tenant", "list", "--environment", "profile.yaml"]
assert run() == 0
print("\\n".join(m.__cached__ for m in list(sys.modules.values()) if getattr(m, "__cached__", None)))
"""


def test_what_a_command_imports_is_compiled_also_where_the_shell_forbids_it(tmp_path: Path) -> None:
    profile = {
        "version": 1, "name": "none", "aws": {"account_id": ACCOUNT, "endpoint_url": "http://127.0.0.1:9"},
        "pulumi": {"backend_url": f"file://{tmp_path}", "passphrase_file": str(tmp_path / "passphrase")},
        "registry": {"url": f"sqlite:///{tmp_path}/registry.db"},
    }  # fmt: skip
    (tmp_path / "profile.yaml").write_text(json.dumps(profile), encoding="utf-8")
    where = ["-X", f"pycache_prefix={tmp_path}/compiled"]
    variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}

    python, *rest = compile_command(Path(sys.executable))
    subprocess.run([python, *where, *rest], env=variables, check=True, timeout=200)
    shown = subprocess.run(
        [sys.executable, *where, "-c", LIST],
        env=variables, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip

    cached = [Path(line) for line in shown.splitlines() if line.endswith(".pyc")]
    missing = [str(path) for path in cached if "site-packages" in str(path) and not path.is_file()]
    assert len(cached) > 500
    # A dozen belong to printing the table, which is loaded last.
    assert len(missing) < 25, missing
