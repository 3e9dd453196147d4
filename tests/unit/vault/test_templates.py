"""Configurations rendered for a node: no value gets out of its quotes."""

from __future__ import annotations

import dataclasses
import json
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutx_infra.adapters.vault_templates import hcl, policy_texts, render_server
from mutx_infra.byok import AwsKmsSeal, Product, StaticSeal, TransitSeal
from mutx_infra.errors import SettingsError, SpecError
from mutx_infra.vault.layout import make_layout
from mutx_infra.vault.server import LOOPBACK, ServerPlan
from tests.support.authorities import make_authority

DIGEST = "ab" * 32
SEALS = {
    "static": StaticSeal(type="static"),
    "transit": TransitSeal(type="transit", address="https://vault.tenant.example:8200", key="acme"),
    "awskms": AwsKmsSeal(type="awskms", key_arn="arn:aws:kms:eu-central-1:123456789012:key/1234-abcd"),
}


def _plan(**changes: object) -> ServerPlan:
    tenant, platform = make_authority("tenant").pem, make_authority("platform").pem
    layout = make_layout("acme", policy_texts(), tenant, platform, LOOPBACK)
    plan = ServerPlan("acme", "acme-vault-1", IPv4Address("10.0.0.4"), SEALS["transit"], layout)
    return dataclasses.replace(plan, **changes)


@given(text=st.text(max_size=80))
def test_a_string_ends_where_its_quote_does(text: str) -> None:
    written = hcl(text)

    assert written.startswith('"')
    assert "\n" not in written
    assert '"' not in written[1:-1].replace("\\\\", "").replace('\\"', "")
    assert json.loads(written) == text


@given(
    value=st.recursive(
        st.text(max_size=10) | st.booleans() | st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    )
)
def test_lists_and_maps_stay_on_their_line(value: object) -> None:
    assert "\n" not in hcl(value)
    assert "'" not in hcl(value).replace(json.dumps(value, ensure_ascii=False), "") or "'" in str(value)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "true"),
        (15, "15"),
        ({"a": "b"}, '{ "a" = "b" }'),
        (["a", "b"], '["a", "b"]'),
        (('a"b',), '["a\\"b"]'),
        ("a\nb", '"a\\nb"'),
        ("ä→", '"ä→"'),
    ],
)
def test_a_value_is_written(value: object, written: str) -> None:
    assert hcl(value) == written


@pytest.mark.parametrize("seal", SEALS)
def test_a_node_has_the_seal_of_the_spec_and_no_other(seal: str) -> None:
    text = render_server(_plan(seal=SEALS[seal], seal_plugin=DIGEST))

    assert [line for line in text.splitlines() if line.startswith("seal ")] == [f'seal "{seal}" {{']


def test_a_node_declares_its_audit_device_and_serves_nothing_older_than_tls_1_3() -> None:
    text = render_server(_plan())

    assert 'audit "file" "file" {' in text
    assert 'tls_min_version      = "tls13"' in text
    assert "tls_disable" not in text


def test_only_the_first_node_makes_what_there_is() -> None:
    assert 'initialize "layout"' in render_server(_plan())
    joining = render_server(_plan(layout=None, peers=(IPv4Address("10.0.0.5"),)))
    assert "initialize" not in joining
    assert 'leader_api_addr     = "https://10.0.0.5:8200"' in joining


def test_no_configuration_names_a_token_or_a_key_s_content() -> None:
    for seal in SEALS.values():
        text = render_server(_plan(seal=seal, seal_plugin=DIGEST)).lower()

        assert "private key" not in text
        assert "token " not in text.replace("token_", "")


def test_hashicorp_s_server_is_told_of_nothing_that_it_does_not_know() -> None:
    text = render_server(_plan(product=Product.VAULT))

    assert "initialize" not in text
    assert "audit" not in text
    assert "disable_mlock      = true" in text
    assert "disable_mlock" not in render_server(_plan())


def test_openbao_reaches_kms_by_the_plugin_of_a_digest_alone() -> None:
    with pytest.raises(SettingsError) as refused:
        _plan(seal=SEALS["awskms"])
    openbao = render_server(_plan(seal=SEALS["awskms"], seal_plugin=DIGEST))
    hashicorp = render_server(_plan(seal=SEALS["awskms"], product=Product.VAULT))

    assert refused.value.code == "vault-seal-plugin"
    assert f'sha256sum = "{DIGEST}"' in openbao
    assert "plugin" not in hashicorp + render_server(_plan(seal_plugin=DIGEST))


def test_hashicorp_s_server_has_no_static_seal() -> None:
    with pytest.raises(SpecError) as refused:
        _plan(product=Product.VAULT, seal=SEALS["static"])

    assert refused.value.code == "byok-seal-static"


def test_the_node_that_the_tenant_initialises_is_the_first() -> None:
    first, joining = _plan(product=Product.VAULT), _plan(product=Product.VAULT, layout=None)

    assert (first.awaits_its_tenant, first.makes_itself) == (True, False)
    assert not joining.awaits_its_tenant
    assert (_plan().awaits_its_tenant, _plan().makes_itself) == (False, True)
