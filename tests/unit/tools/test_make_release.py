"""What a role is told of a release that was built for hosts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from make_release import DEPLOYED, main, variables

ROLES = Path(__file__).resolve().parents[3] / "playbooks/roles"
FILES = Path("/r/a.whl"), Path("/r/kit.whl"), Path("/r/requirements.lock")


@pytest.mark.parametrize("service", DEPLOYED)
def test_a_release_is_told_by_variables_that_the_role_has(service: str) -> None:
    prefix = DEPLOYED[service].prefix
    specs = yaml.safe_load((ROLES / prefix / "meta/argument_specs.yml").read_text("utf-8"))

    told = yaml.safe_load(variables(service, *FILES))

    assert told == {
        f"{prefix}_wheel": "/r/a.whl",
        f"{prefix}_companions": ["/r/kit.whl"],
        f"{prefix}_lock": "/r/requirements.lock",
    }
    assert told.keys() <= specs["argument_specs"]["main"]["options"].keys()


def test_a_service_that_no_host_installs_is_refused_before_anything_is_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main([str(tmp_path), "vault_verify"])

    assert refused.value.code == 2
    assert "there is no vault_verify" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
