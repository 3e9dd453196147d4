"""The whole survey over a Vault that is one, or is one but for a detail, or answers with anything at all."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lawful import HOST, FakeVault, a_token, expectation, lawful_vault
from mutx_vault_verify.check import Status
from mutx_vault_verify.checks.server import HEALTH, host_name
from mutx_vault_verify.expectation import State
from mutx_vault_verify.problem import Unanswered
from mutx_vault_verify.report import as_json, as_table, verdict
from mutx_vault_verify.survey import Survey, accepted, survey

from mutx_infra import naming
from mutx_infra.byok import Product

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PRODUCTS = tuple(Product)
LAWFULS = {product: lawful_vault(product) for product in PRODUCTS}
LAWFUL = LAWFULS[Product.OPENBAO]
LOOKED_AT_BY_NAME = (
    "sys/seal-status", "sys/health", "sys/rotate/recovery", "sys/rotate/root", "sys/rekey", "sys/generate-root",
    "sys/storage",
    "sys/plugins", "ssh/config", "pki/cert/", "pki-machines/cert/",
)  # fmt: skip
"""Of these answers only what is named is looked at; all others are compared whole."""


def look(source: FakeVault, product: Product = Product.OPENBAO) -> Survey:
    return survey(source, expectation(product))


def failing(found: Survey) -> dict[str, str]:
    return {check.name: str(check.status) for check in found.checks if not check.is_good}


HOW_TO = Path(__file__).resolve().parents[4] / "docs/how-to/verify-your-vault.md"


@pytest.fixture
def vault() -> FakeVault:
    return copy.deepcopy(LAWFUL)


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_lawful_vault_passes(product):
    found = look(LAWFULS[product], product)

    assert (failing(found), found.state, found.is_good) == ({}, State.CLAIMED, True)
    assert verdict(found).startswith("The Vault is as the release says")


def test_what_a_server_shows_nobody_is_said_and_not_held_against_it():
    found = look(LAWFULS[Product.VAULT], Product.VAULT)

    unseen = {check.name for check in found.checks if check.status is Status.UNSEEN}
    said = as_table(found, {}, is_verbose=False)
    assert {"audit stanza", "holders of the recovery keys"} <= unseen
    assert all(f"unseen    {name}" in said for name in unseen)
    assert "as the release says, as far as its server shows (" in said
    assert [name for name in unseen if f"`{name}`" not in HOW_TO.read_text()] == []


@pytest.mark.parametrize("claimed", PRODUCTS)
@pytest.mark.parametrize("real", PRODUCTS)
def test_a_server_passes_for_no_other(claimed, real):
    found = look(LAWFULS[real], claimed)

    assert found.is_good is (claimed is real)
    assert ({"server product", "server version"} <= set(failing(found))) is (claimed is not real)


@pytest.mark.parametrize("claimed", PRODUCTS)
@pytest.mark.parametrize("real", PRODUCTS)
def test_a_server_that_says_another_version_passes_for_no_other(claimed, real):
    vault, version = copy.deepcopy(LAWFULS[real]), expectation(claimed).manifest["servers"][-1]
    vault.answers["sys/seal-status"]["version"] = vault.answers[HEALTH]["version"] = version

    found = failing(look(vault, claimed))

    assert ({"server product", "engine byok/"} <= set(found)) is (claimed is not real)


def test_a_version_that_is_said_in_two_ways_is_named(vault):
    vault.answers[HEALTH]["version"] = "9.9.9"

    assert failing(look(vault)) == {"server product": "differs"}


EVERY_PATH = [
    (product, path)
    for product in PRODUCTS
    for path in sorted(set(LAWFULS[product].answers) - {expectation(product).manifest["kept_shares"]})
]


@pytest.mark.parametrize(("product", "path"), EVERY_PATH)
def test_an_answer_that_is_refused_never_passes(product, path):
    vault = copy.deepcopy(LAWFULS[product])
    vault.answers[path] = Unanswered("403: denied")

    found = look(vault, product)

    assert not found.is_good
    assert {"unknown", "missing", "differs"} & set(failing(found).values())


@pytest.mark.parametrize(
    ("product", "path"),
    [
        (product, path)
        for product, path in EVERY_PATH
        if not path.startswith(LOOKED_AT_BY_NAME) and path not in expectation(product).manifest["unknown"]
    ],
)
def test_a_field_too_many_never_passes(product, path):
    vault = copy.deepcopy(LAWFULS[product])
    vault.answers[path]["not-known"] = "x"

    assert not look(vault, product).is_good


@settings(deadline=None)
@given(
    path=st.sampled_from(sorted(LAWFUL.answers)),
    answer=st.dictionaries(st.text(max_size=8), JSON, max_size=4),
)
def test_any_answer_at_all_ends_in_a_verdict_that_is_no(path, answer):
    vault = copy.deepcopy(LAWFUL)
    vault.answers[path] = answer

    found = look(vault)

    assert not found.is_good or path == "sys/rotate/recovery/backup"


@settings(deadline=None)
@given(st.data())
def test_any_field_of_any_answer_may_be_anything(data):
    vault = copy.deepcopy(LAWFUL)
    answers = {p: a for p, a in vault.answers.items() if isinstance(a, dict) and a}
    path = data.draw(st.sampled_from(sorted(answers)))
    name = data.draw(st.sampled_from(sorted(answers[path])))
    vault.answers[path][name] = data.draw(JSON)

    found = look(vault)

    assert as_table(found, {}).isprintable() is False  # line ends alone
    assert all(line.isprintable() for line in as_table(found, {}).splitlines())
    assert as_json(found, {})


@settings(deadline=None)
@given(
    path=st.sampled_from(sorted(LAWFUL.lists)),
    names=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3),
)
def test_any_name_too_many_ends_in_a_verdict_that_is_no(path, names):
    vault = copy.deepcopy(LAWFUL)
    vault.lists[path] = [*vault.lists[path], *(f"zz{name}" for name in names)]

    found = look(vault)

    # Leases of logins are the tokens' own, however many.
    assert not found.is_good or path == "sys/leases/lookup/auth/cert/login"


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*a_token(), "period", "bound_cidrs", "identity_policies"]), JSON, min_size=1
    )
)
def test_any_token_ends_in_a_verdict(changed):
    vault = copy.deepcopy(LAWFUL)
    vault.tokens["t1"] = a_token(**changed)

    found = look(vault)

    assert found.state is State.CLAIMED


TOKENS: dict[str, Callable[[], dict]] = {
    "root": lambda: a_token(policies=["root"], path="auth/token/root", meta=None, creation_ttl=0, ttl=0),
    "of-another-role": lambda: a_token(meta={"cert_name": "friend"}),
    "of-the-onboarder": lambda: a_token(meta={"cert_name": "mutx-onboarder"}, policies=["mutx-onboarder"]),
    "with-more-policies": lambda: a_token(policies=["agent", "tenant-admin"]),
    "with-an-identity-s-policies": lambda: a_token(identity_policies=["agent"]),
    "for-a-day": lambda: a_token(creation_ttl=86400),
    "that-is-old": lambda: a_token(creation_time=a_token()["creation_time"] - 4000),
    "without-end": lambda: a_token(ttl=0),
    "periodic": lambda: a_token(period=900),
    "bound-elsewhere": lambda: a_token(bound_cidrs=["10.0.0.0/8"]),
    "batch": lambda: a_token(type="batch"),
    "with-a-parent": lambda: a_token(orphan=False),
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
def test_a_token_that_no_login_gives_is_named(vault, token):
    vault.tokens["t1"] = token()

    assert set(failing(look(vault))) == {"token t1"}


def test_a_token_outlives_no_role(vault):
    vault.tokens["t2"] = a_token(
        meta={"cert_name": HOST},
        policies=["agent", "machine"],
        bound_cidrs=["10.0.1.20"],
        display_name="cert-host",
    )
    vault.lists["auth/token/accessors"].append("t2")

    enrolled = look(vault)
    vault.lists["auth/cert/certs"].remove(HOST)
    taken_out = look(vault)

    assert failing(enrolled) == {}
    assert failing(taken_out)["token t2"] == "extra"


def test_a_claim_that_stopped_halfway_says_what_is_missing(vault):
    vault.lists["ssh/issuers"] = []
    vault.lists["ssh/roles"] = []

    found = look(vault)

    assert failing(found) == {"claim": "differs"}
    assert "SSH authority made: no" in next(check.detail for check in found.checks if check.name == "claim")


def test_shares_that_the_vault_still_keeps_are_no_end_of_a_claim(vault):
    vault.answers["sys/rotate/recovery/backup"] = {"keys": {"0123ABCD": ["00"]}}

    found = look(vault)

    assert failing(found) == {"claim": "differs", "recovery keys": "differs"}


def test_a_fourth_node_is_named(vault):
    servers = vault.answers["sys/storage/raft/configuration"]["config"]["servers"]
    servers.append({"node_id": "somewhere", "address": "192.0.2.1:8201", "voter": True})

    assert failing(look(vault)) == {"node somewhere": "extra", "node count": "differs"}


@pytest.mark.parametrize("tenant", ["acme", "a" * 63, f"{'a' * 50}-bc"])
def test_a_node_is_called_as_the_platform_calls_its_host(tenant):
    assert host_name(f"{tenant}-vault-1") == naming.host_name(tenant, "vault-1")


def test_clocks_apart_are_named(vault):
    vault.answers[HEALTH]["server_time_utc"] -= 600

    assert failing(look(vault)) == {"clock": "differs"}


def test_another_release_of_the_server_is_named(vault):
    vault.answers["sys/seal-status"]["version"] = "2.4.0"

    assert "server version" in failing(look(vault))


def test_what_the_tenant_changed_itself_may_be_accepted_by_name(vault):
    vault.lists["sys/policies/acl"].append("auditors")

    found = accepted(look(vault), ["policy auditors"])

    assert found.is_good
    assert [c.detail for c in found.checks if c.status is Status.ACCEPTED] == [
        "extra: the release has none of that name"
    ]


def test_what_was_accepted_and_is_gone_is_named(vault):
    assert failing(accepted(look(vault), ["policy auditors"])) == {"accepted policy auditors": "differs"}


def test_what_is_not_known_cannot_be_accepted(vault):
    vault.answers["sys/loggers"] = Unanswered("403: denied")

    found = accepted(look(vault), ["server"])

    assert failing(found) == {"server": "unknown", "accepted server": "differs"}
