"""What the operator hands to the tenant: where its Vault is, what it is known by and holds, who waits for enrolment.

One file, without a secret. The tenant's commands take it (`--vault FILE`), and `mutx-vault-verify` does.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mutx_infra.byok import Certificate, Product, Seal
from mutx_infra.errors import SettingsError
from mutx_infra.tenant import TenantId
from mutx_infra.vault.layout import HOST_NAME

HostName = Annotated[str, Field(pattern=f"^{HOST_NAME.pattern}$")]
"""The file comes from the platform: a key of `+` or `*` would make one agent a reader of all keys."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Machine(_Part):
    """A host that logs in to the Vault once an administrator has enrolled it.

    Attributes:
        name: its host name, which is its certificate's common name.
        key: unique in its tenant, e.g. `agent-1`; what `--agent` names.
        address: in the VPC; its tokens are good from there alone.
        request: a certificate signing request in PEM, whose key was made on the host; None where it made none yet.
    """

    name: HostName
    key: HostName
    role: HostName
    address: IPv4Address
    request: str | None = None


class Handover(_Part):
    """A tenant's Vault as it is handed over.

    Attributes:
        url: of its API, as the tenant's administrators reach it.
        server_name: what its certificate names, where that is not the URL's host.
        authority: PEM certificates of the authorities that its nodes' certificates are known by.
        release: version of the toolkit that rendered its policies.
        digests: of each policy and role, as `VaultLayout.digests` gives them.
        seal: kind of its seal.
        sealed_by: the key that seals it, as the tenant's spec has it; None where that is not told.
        product: which server it is.
        platform_ca: PEM of the authority by which the platform is known until the claim, where the tenant makes the
            Vault; None where that makes itself.
    """

    version: Literal[1] = 1
    kind: Literal["vault-handover"] = "vault-handover"
    tenant: TenantId
    url: Annotated[str, Field(pattern=r"^https://[^\s/]+$")]
    server_name: str | None = None
    authority: str
    admin_ca: Certificate
    seal: str
    sealed_by: Seal | None = None
    release: str
    digests: dict[str, Digest]
    machines: tuple[Machine, ...] = ()
    product: Product = Product.OPENBAO
    platform_ca: Certificate | None = None

    def text(self) -> str:
        """Return the file's content: JSON, a field a line; what only HashiCorp's server needs, only for that."""
        unsaid = {"product", "platform_ca"} if self.product is Product.OPENBAO else set()
        return self.model_dump_json(indent=2, exclude=unsaid) + "\n"


def parse_handover(text: str, where: str) -> Handover:
    """Read what `Handover.text` wrote.

    Raises:
        SettingsError: it is something else (code `handover-invalid`).
    """
    try:
        return Handover.model_validate_json(text)
    except ValidationError as exc:
        first = exc.errors(include_input=False)[0]
        raise SettingsError(
            f"{where} is not what `vault init` writes: {'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}",
            code="handover-invalid",
            remedy="ask the platform's operator for the file anew; it holds no secret",
        ) from exc
