"""What a tenant brings of its own: its administrators' authority, the key that seals its Vault, which server it is."""

from __future__ import annotations

import ssl
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def _certificate(text: str) -> str:
    """Accept one PEM certificate and nothing beside it: a private key must not get into a committed file."""
    if "PRIVATE KEY" in text:
        raise ValueError("holds a private key: take it out, and make a new one, since it was written down")
    if text.count(_BEGIN) != 1 or text.strip().split(_END)[-1] or not text.strip().startswith(_BEGIN):
        raise ValueError("must be one certificate in PEM, from its BEGIN line to its END line")
    try:
        ssl.PEM_cert_to_DER_cert(text.strip())
    except ValueError as exc:
        raise ValueError("is no certificate: what stands between BEGIN and END is not base64") from exc
    return text.strip() + "\n"


Certificate = Annotated[str, Field(max_length=16384), AfterValidator(_certificate)]
"""One X.509 certificate in PEM."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TransitSeal(_Part):
    """Sealed by a key in a transit engine of a Vault that the tenant holds.

    Its token comes with `vault init --seal-token-file`, and is in no spec.
    """

    type: Literal["transit"]
    address: Annotated[str, Field(pattern=r"^https://[^\s/]+$", description="Of the tenant's own Vault.")]
    mount: Annotated[
        str, Field(pattern=r"^[a-z0-9][a-z0-9/_-]{0,63}$", description="Path of its transit engine.")
    ] = "transit"
    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", description="Name of the key.")]
    ca: Certificate | None = Field(
        default=None, description="Authority of that Vault's certificate. Default: the system's authorities."
    )


class AwsKmsSeal(_Part):
    """Sealed by a KMS key in the tenant's own AWS account, whose policy lets the Vault hosts' roles use it."""

    type: Literal["awskms"]
    key_arn: Annotated[
        str,
        Field(
            pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]{1,64}$",
            description="ARN of the key, in the tenant's own account.",
        ),
    ]

    @property
    def region(self) -> str:
        """The key's region."""
        return self.key_arn.split(":")[3]


class StaticSeal(_Part):
    """Sealed by a key in a file on the Vault host itself: for trials. BYOK-1 then fails in the evidence."""

    type: Literal["static"]


Seal = Annotated[TransitSeal | AwsKmsSeal | StaticSeal, Field(discriminator="type")]


class Product(StrEnum):
    """Which server a tenant's Vault is.

    Attributes:
        OPENBAO: makes itself, so that nobody ever has a root token.
        VAULT: HashiCorp's, which the tenant initialises from its own machine.
    """

    OPENBAO = "openbao"
    VAULT = "vault"


class Byok(_Part):
    """What the tenant brings; authority and seal have no default.

    Attributes:
        admin_ca: whose client certificates are the tenant's administrators. The tenant holds its key, nobody else.
        seal: the key of the tenant's own under which its Vault's storage is sealed.
        server: which product its Vault is.
    """

    admin_ca: Certificate = Field(
        description="Authority of the tenant's administrators, in PEM; its key is theirs alone."
    )
    seal: TransitSeal | AwsKmsSeal | StaticSeal = Field(
        discriminator="type",
        description="transit: a key in the tenant's own Vault; awskms: in its own AWS account; static: for trials.",
    )
    server: Annotated[Product, Field(strict=False)] = Field(
        default=Product.OPENBAO,
        description="openbao: makes itself; vault: HashiCorp's server, which the tenant initialises.",
    )

    @field_validator("server")
    @classmethod
    def _server_has_the_seal(cls, server: Product, info: ValidationInfo) -> Product:
        if server is Product.VAULT and isinstance(info.data.get("seal"), StaticSeal):
            raise ValueError(
                "HashiCorp's server has no static seal: take `transit` or `awskms`, or `openbao`"
            )
        return server
