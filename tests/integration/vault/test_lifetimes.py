"""No certificate outlives what its role says, whatever a host asks for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from mutx_infra.errors import RefusedError
from mutx_infra.vault.layout import MACHINE_PKI, SERVICE_PKI, issuing_role, signing_role
from tests.support.authorities import signing_request
from tests.support.vault import RunningVault, running_vault

HOST = "acme-agent-1"


@pytest.fixture(scope="module")
def vault() -> Iterator[RunningVault]:
    with running_vault() as made:
        admin = made.as_admin()
        admin.write(f"{SERVICE_PKI}/roles/{HOST}", issuing_role(HOST))
        admin.write(f"{MACHINE_PKI}/roles/{HOST}", signing_role(HOST))
        yield made


def asked(vault: RunningVault, mount: str, **more: str) -> x509.Certificate:
    """Ask as a host does; by an administrator, whom no policy stops: the role alone does."""
    request = {"csr": signing_request(vault.folder, HOST)[0]} if mount == MACHINE_PKI else {}
    path = f"{mount}/{'sign' if request else 'issue'}/{HOST}"
    answer = vault.as_admin().write(path, {"common_name": HOST, **request, **more})
    return x509.load_pem_x509_certificate(answer["certificate"].encode())


@pytest.mark.parametrize(
    ("mount", "most"), [(SERVICE_PKI, timedelta(hours=24)), (MACHINE_PKI, timedelta(hours=720))]
)
@pytest.mark.parametrize("ttl", ["", "9000h"])
def test_a_certificate_ends_when_its_role_says(vault, mount, most, ttl):
    made = asked(vault, mount, **({"ttl": ttl} if ttl else {}))

    assert made.not_valid_after_utc <= datetime.now(UTC) + most


@pytest.mark.parametrize("mount", [SERVICE_PKI, MACHINE_PKI])
@pytest.mark.parametrize("field", ["not_after", "not_before"])
def test_a_host_does_not_say_from_when_or_until_when(vault, mount, field):
    with pytest.raises(RefusedError, match="cannot be provided"):
        asked(vault, mount, **{field: "2040-01-01T00:00:00Z"})
