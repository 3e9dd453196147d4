"""What differs between OpenBao and HashiCorp's server, and what must not."""

from __future__ import annotations

import pytest

from mutx_infra.byok import Byok, Product
from mutx_infra.errors import SpecError
from mutx_infra.vault.claims import claims, readings
from mutx_infra.vault.handover import Handover, parse_handover
from mutx_infra.vault.parties import Who
from mutx_infra.vault.products import TRAITS
from tests.support.authorities import make_authority
from tests.support.specs import a_spec

CA = make_authority("acme administrators").pem
TRANSIT = {"type": "transit", "address": "https://vault.acme.example:8200", "key": "mutx"}


def test_a_spec_that_names_no_server_has_openbao() -> None:
    byok = Byok.model_validate({"admin_ca": CA, "seal": {"type": "static"}})

    assert byok.server is Product.OPENBAO


def test_a_spec_names_its_server_as_yaml_has_it() -> None:
    spec = a_spec(byok={"admin_ca": CA, "seal": TRANSIT, "server": "vault"})

    assert spec.byok is not None
    assert spec.byok.server is Product.VAULT


@pytest.mark.parametrize(
    "changed", [{"seal": {"type": "static"}}, {"server": "consul"}], ids=["static seal", "another server"]
)
def test_a_spec_with_what_the_server_has_not_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises((SpecError, ValueError), match=r"static seal|openbao"):
        Byok.model_validate({"admin_ca": CA, "seal": TRANSIT, "server": "vault", **changed})


def test_what_a_server_does_not_give_is_no_claim_and_all_else_is() -> None:
    usual = {claim.control.id for claim in claims("", Product.OPENBAO)}
    other = {claim.control.id for claim in claims("", Product.VAULT)}

    assert usual - other == {"vault-audit-02"}
    assert other <= usual
    assert all(claim.attempts for claim in claims("", Product.VAULT))
    assert len(readings(Product.OPENBAO)) == len(readings(Product.VAULT))


def test_only_what_nobody_logs_in_for_is_left_out() -> None:
    opened = TRAITS[Product.VAULT].open_to_anybody

    for claim in claims("", Product.VAULT):
        same = next(each for each in claims("") if each.control.id == claim.control.id)
        left_out = {attempt.path for attempt in same.attempts} - {attempt.path for attempt in claim.attempts}
        assert left_out <= (opened if claim.who is Who.ANYBODY else frozenset())


def test_a_hand_over_file_says_more_only_where_it_must() -> None:
    usual = _handover(Product.OPENBAO)
    other = _handover(Product.VAULT)

    assert "product" not in usual.text()
    assert parse_handover(usual.text(), "it") == usual
    assert parse_handover(other.text(), "it") == other


def _handover(product: Product) -> Handover:
    return Handover(
        tenant="acme", url="https://vault:8200", authority=CA, admin_ca=CA, seal="transit", release="0.1.0",
        digests={}, product=product, platform_ca=None if product is Product.OPENBAO else CA,
    )  # fmt: skip
