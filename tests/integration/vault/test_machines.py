"""What a host of the tenant, or who took it over, can do: read its own keys, and certify its own name for a while."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mutx_infra.byok import Product
from mutx_infra.vault.layout import AGENT, MACHINE, TENANT_ADMIN
from mutx_infra.vault.lints import lint_policy
from mutx_infra.vault_ports import ClientCertificate
from tests.integration.vault.conftest import Tenant
from tests.support.vault import running_vault
from tests.support.vault_people import Answer, ask, deposit, enroll, login, sign

DENIED, NOT_SO, GONE = 403, 400, 404
NO_SUCH_VERB: dict[Product, set[int]] = {Product.OPENBAO: set(), Product.VAULT: {405}}
"""HashiCorp's server does not know SCAN."""
ME, OTHER = "acme-agent-1", "acme-agent-2"
DAY, MONTH = timedelta(hours=24), timedelta(hours=720)
OWN, SHARED, OTHERS = (
    "byok/data/agents/agent-1/openai",
    "byok/data/shared/anthropic",
    "byok/data/agents/agent-2/openai",
)


def _issue(tenant: Tenant, path: str, data: Mapping[str, Any]) -> Answer:
    return ask(tenant.vault, "POST", path, data, token=tenant.first.token(tenant.vault))


def _request(
    *names: str, sans: tuple[x509.GeneralName, ...] = (), wants_ca: bool = False, **more: str
) -> str:
    """Write a request for a certificate, with whatever in it."""
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names]
    attributes += [x509.NameAttribute(getattr(NameOID, kind), value) for kind, value in more.items()]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    if wants_ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def _certificate(answer: Answer) -> x509.Certificate:
    return x509.load_pem_x509_certificate(answer.data["certificate"].encode())


def _is_for_me_alone(made: x509.Certificate) -> bool:
    """One name, no authority, no other use than speaking TLS."""
    kinds = {extension.oid: extension.value for extension in made.extensions}
    names = kinds[x509.SubjectAlternativeName.oid]
    assert isinstance(names, x509.SubjectAlternativeName)
    basic = kinds.get(x509.BasicConstraints.oid)
    usage = kinds[x509.ExtendedKeyUsage.oid]
    assert isinstance(usage, x509.ExtendedKeyUsage)
    return (
        [attribute.value for attribute in made.subject] == [ME]
        and list(names) == [x509.DNSName(ME)]
        and not (isinstance(basic, x509.BasicConstraints) and basic.ca)
        and set(usage) <= {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    )


def test_an_agent_reads_its_own_keys_and_those_of_all(tenant: Tenant) -> None:
    token = tenant.first.token(tenant.vault)

    assert ask(tenant.vault, "GET", OWN, token=token).data["data"] == {"key": "sk-of-the-first"}
    assert ask(tenant.vault, "GET", SHARED, token=token).data["data"] == {"key": "sk-of-all"}


@pytest.mark.parametrize(
    "path",
    [
        OTHERS, "byok/data/agents/agent-1/../agent-2/openai", "byok/data/agents/agent-1/%2e%2e/agent-2/openai",
        "byok/data/agents/agent-1/..%2fagent-2%2fopenai", "byok/data/agents//agent-2/openai",
        "byok/data/shared/../agents/agent-2/openai", "byok/data/shared/%2e%2e/agents/agent-2/openai",
        "byok/data/agents/agent-1%2f..%2fagent-2/openai", "byok/data/agents/agent-2", "byok/data/agents/+/openai",
        "byok/data/agents/*/openai", "byok/data/agents/AGENT-2/openai", "byok/subkeys/agents/agent-2/openai",
        "byok/metadata/agents/agent-2/openai", "byok/metadata/agents?list=true", "byok/data/agents?list=true",
    ],
)  # fmt: skip
def test_an_agent_does_not_get_at_another_s_key(tenant: Tenant, path: str) -> None:
    for method in ("GET", "LIST", "SCAN", "HEAD"):
        answer = ask(tenant.vault, method, path, token=tenant.first.token(tenant.vault))

        assert answer.status in {307, DENIED, NOT_SO, GONE, *NO_SUCH_VERB[tenant.vault.product]}
        assert "sk-" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "byok/data/agents/agent-1/..%2fagent-2%2fold", "byok/data/agents/agent-1/%2e%2e/agent-2/old",
        "byok/data/agents/agent-1%2f..%2fagent-2/old", "byok/data/shared/..%2fagents%2fagent-2%2fold",
        "byok/data/shared/%2e%2e/agents/agent-2/old",
    ],
)  # fmt: skip
def test_an_agent_does_not_learn_what_keys_others_have(tenant: Tenant, path: str) -> None:
    """HashiCorp's server answers with what it notes of a deleted key, if a policy lets a path with `..` through."""
    deposit(tenant.admin, "agents/agent-2/old", "sk-old", cas=_version(tenant, "agents/agent-2/old"))
    tenant.admin.write("byok/metadata/agents/agent-2/old", {"custom_metadata": {"note": "of another"}})
    tenant.admin.delete("byok/data/agents/agent-2/old")

    answer = ask(tenant.vault, "GET", path, token=tenant.first.token(tenant.vault))

    assert answer.status in {DENIED, NOT_SO}, answer


def _version(tenant: Tenant, path: str) -> int:
    return int((tenant.admin.read(f"byok/metadata/{path}") or {"current_version": 0})["current_version"])


@pytest.mark.parametrize("path", [OWN, SHARED, OTHERS])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_an_agent_changes_no_key(tenant: Tenant, path: str, method: str) -> None:
    data = {"data": {"key": "x"}, "options": {"cas": 1}} if method != "DELETE" else None
    headers = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}

    answer = ask(tenant.vault, method, path, data, token=tenant.first.token(tenant.vault), headers=headers)

    assert answer.status == DENIED


@pytest.mark.parametrize(
    "agent_id", ["*", "+", "agent-2/openai/..", "../agents/agent-2", "agent-*", "", "agent-1/../agent-2"]
)
def test_an_identity_of_an_odd_name_reads_nobody_s_keys(tenant: Tenant, agent_id: str) -> None:
    odd = enroll(tenant.vault, tenant.admin, "acme-odd", agent_id="odd")
    tenant.admin.write(
        "identity/entity/name/acme-odd", {"metadata": {"agent_id": agent_id, "host": "acme-odd"}}
    )
    token = odd.token(tenant.vault)

    if agent_id == "+" and tenant.vault.product is Product.VAULT:
        pytest.skip("a wildcard for HashiCorp's server: no file that the toolkit takes holds such a name")
    for path in (OWN, OTHERS, f"byok/data/agents/{agent_id}/openai"):
        assert ask(tenant.vault, "GET", path, token=token).status in {307, DENIED, NOT_SO, GONE}


def test_an_identity_without_a_name_reads_nobody_s_keys(tenant: Tenant) -> None:
    bare = enroll(tenant.vault, tenant.admin, "acme-bare", agent_id="bare")
    tenant.admin.write("identity/entity/name/acme-bare", {"metadata": {"x": "y"}})
    token = bare.token(tenant.vault)

    for path in (OWN, OTHERS, "byok/data/agents//openai", "byok/data/agents/openai"):
        assert ask(tenant.vault, "GET", path, token=token).status in {307, DENIED, GONE}


def test_a_database_host_reads_no_key(tenant: Tenant) -> None:
    token = tenant.database.token(tenant.vault)

    for path in (OWN, OTHERS, SHARED):
        assert ask(tenant.vault, "GET", path, token=token).status == DENIED


def test_a_host_reads_what_is_put_in_for_itself_alone(tenant: Tenant) -> None:
    token = tenant.database.token(tenant.vault)
    own, other = "byok/data/hosts/acme-database-1/mask", "byok/data/hosts/acme-agent-1/mask"
    for path in (own, other):
        deposit(tenant.admin, path.removeprefix("byok/data/"), "bWFzaw==")

    assert ask(tenant.vault, "GET", own, token=token).status == 200
    assert ask(tenant.vault, "POST", own, {"data": {"key": "x"}}, token=token).status == DENIED
    for path in (
        other,
        "byok/data/hosts/+/mask",
        own.replace("data", "subkeys"),
        "byok/data/hosts/acme-database-1/..%2facme-agent-1/mask",
    ):
        assert ask(tenant.vault, "GET", path, token=token).status in {DENIED, GONE, NOT_SO}
    for path in ("byok/metadata/hosts?list=true", "byok/metadata/hosts/acme-database-1?list=true"):
        assert ask(tenant.vault, "GET", path, token=token).status == DENIED


@pytest.mark.parametrize(
    ("method", "path", "data"),
    [
        ("POST", "auth/token/create", {"policies": ["tenant-admin"]}),
        ("POST", "auth/cert/certs/acme-agent-1", {"token_policies": "tenant-admin"}),
        ("POST", "identity/entity/name/acme-agent-1", {"metadata": {"agent_id": "agent-2"}}),
        ("POST", "identity/entity-alias", {"name": "acme-agent-1"}),
        ("POST", "identity/entity/merge", {"from_entity_ids": ["x"], "to_entity_id": "x"}),
        ("POST", "sys/policies/acl/agent", {"policy": 'path "*" { capabilities = ["read"] }'}),
        ("POST", "pki/roles/acme-agent-1", {"allow_any_name": True}),
        ("POST", "pki/issue/acme-agent-2", {"common_name": OTHER}),
        ("POST", "pki/sign/acme-agent-1", {"csr": "x"}),
        ("POST", "pki/issuer/default/issue/acme-agent-1", {"common_name": ME}),
        ("POST", "pki/revoke", {"serial_number": "x"}),
        ("POST", "pki-machines/issue/acme-agent-1", {"common_name": ME}),
        ("POST", "pki-machines/sign/acme-agent-2", {"csr": "x"}),
        ("POST", "pki-machines/sign-verbatim/acme-agent-1", {"csr": "x"}),
        ("POST", "pki-machines/issuer/default/sign/acme-agent-1", {"csr": "x"}),
        ("POST", "ssh/sign/operator", {"public_key": "x"}),
        ("GET", "sys/storage/raft/configuration", None),
        ("GET", "sys/policies/acl/agent", None),
        ("GET", "auth/cert/certs/acme-agent-2", None),
        ("GET", "identity/entity/name/acme-agent-2", None),
        ("GET", "cubbyhole/x", None),
        ("POST", "sys/wrapping/wrap", {"a": "b"}),
        ("POST", "sys/capabilities-self", {"paths": ["x"]}),
        ("POST", "sys/tools/random", {}),
        ("POST", "sys/leases/lookup", {"lease_id": "x"}),
    ],
)
def test_an_agent_does_nothing_else(
    tenant: Tenant, method: str, path: str, data: dict[str, Any] | None
) -> None:
    answer = ask(tenant.vault, method, path, data, token=tenant.first.token(tenant.vault))

    assert answer.status == DENIED


def test_a_certificate_for_services_ends_within_a_day(tenant: Tenant) -> None:
    made = _certificate(_issue(tenant, f"pki/issue/{ME}", {"common_name": ME, "ttl": "9000h"}))

    assert _is_for_me_alone(made)
    assert made.not_valid_after_utc <= datetime.now(UTC) + DAY
    assert made.not_valid_after_utc - made.not_valid_before_utc <= DAY + timedelta(minutes=1)


@pytest.mark.parametrize(
    "more",
    [
        {"not_after": "2036-01-01T00:00:00Z"},
        {"not_before": "2020-01-01T00:00:00Z"},
        {"alt_names": OTHER},
        {"alt_names": f"x.{ME}"},
        {"alt_names": f"root@{ME}"},
        {"alt_names": "localhost"},
        {"ip_sans": "10.0.0.1"},
        {"uri_sans": "spiffe://acme/agent-2"},
        {"other_sans": "1.3.6.1.4.1.311.20.2.3;utf8:root"},
        {"user_ids": "root"},
        {"serial_number": "7"},
        {"key_usage": "CertSign"},
        {"issuer_ref": "default"},
        {"common_name": OTHER},
        {"common_name": "*"},
        {"common_name": f"*.{ME}"},
        {"common_name": f"x.{ME}"},
        {"common_name": f"mutx-operator@{ME}"},
        {"common_name": f"{ME}."},
        {"common_name": f"{ME},CN=root"},
        {"common_name": ""},
    ],
    ids=str,
)
def test_a_certificate_for_services_names_nothing_else_for_no_longer(
    tenant: Tenant, more: dict[str, str]
) -> None:
    answer = _issue(tenant, f"pki/issue/{ME}", {"common_name": ME, **more})

    assert answer.status in {DENIED, NOT_SO}, answer


@pytest.mark.usefixtures("openbao_alone")
@pytest.mark.parametrize(
    "more", [{"not_after": "2036-01-01T00:00:00Z"}, {"not_before": "2020-01-01T00:00:00Z"}], ids=str
)
def test_the_role_itself_refuses_another_lifetime(tenant: Tenant, more: dict[str, str]) -> None:
    """Whoever asks: the tenant's administrator, whom no policy binds, does not get it either."""
    for path, data in (
        (f"pki/issue/{ME}", {"common_name": ME}),
        (f"pki-machines/sign/{ME}", {"csr": _request(ME)}),
    ):
        answer = ask(tenant.vault, "POST", path, {**data, **more}, token=tenant.admin_token)

        assert answer.status == NOT_SO, answer


@pytest.mark.parametrize(
    ("request_", "more"),
    [
        (_request(OTHER), {}),
        (_request(ME, OTHER), {}),
        (_request(f"mutx-operator@{ME}"), {}),
        (_request("*"), {}),
        (_request("acme-agent-?"), {}),
        (_request(ME, SERIAL_NUMBER="7"), {}),
        (_request(ME), {"not_after": "2036-01-01T00:00:00Z"}),
        (_request(ME), {"not_before": "2020-01-01T00:00:00Z"}),
        (_request(ME), {"alt_names": OTHER}),
        (_request(ME), {"ip_sans": "10.0.0.1"}),
        (_request(ME), {"use_csr_values": "true"}),
        ("no request", {}),
    ],
    ids=[
        "another name", "two names", "a mail address", "a glob", "another glob", "a serial number", "not_after",
        "not_before", "alt_names", "ip_sans", "use_csr_values", "rubbish",
    ],
)  # fmt: skip
def test_a_login_of_its_own_is_signed_for_nothing_else(
    tenant: Tenant, request_: str, more: dict[str, str]
) -> None:
    answer = _issue(tenant, f"pki-machines/sign/{ME}", {"csr": request_, **more})

    assert answer.status in {DENIED, NOT_SO}, answer


@pytest.mark.parametrize(
    ("request_", "more"),
    [
        (_request(ME), {}),
        (_request(ME), {"ttl": "90000h"}),
        (_request(ME), {"common_name": OTHER}),
        (_request(OTHER, ME), {}),
        (_request(ME, wants_ca=True), {}),
        (_request(ME, sans=(x509.DNSName(OTHER), x509.IPAddress(ip_address("10.0.0.1")))), {}),
        (_request(ME, sans=(x509.UniformResourceIdentifier("spiffe://acme/agent-2"),)), {}),
        (_request(ME, ORGANIZATIONAL_UNIT_NAME="admins", ORGANIZATION_NAME="acme"), {}),
    ],
    ids=["as it is", "a long time", "another name beside", "two names", "an authority", "more names", "a URI", "units"],
)  # fmt: skip
def test_what_else_a_request_asks_for_is_left_out(
    tenant: Tenant, request_: str, more: dict[str, str]
) -> None:
    made = _certificate(_issue(tenant, f"pki-machines/sign/{ME}", {"csr": request_, **more}))

    assert _is_for_me_alone(made)
    assert made.not_valid_after_utc <= datetime.now(UTC) + MONTH


def test_a_login_in_capital_letters_is_nobody_s(tenant: Tenant) -> None:
    """The authority compares names without case; the roles that log in do not."""
    people = tenant.vault.folder / "people"
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ME.upper())])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM).decode()
    signed = _issue(tenant, f"pki-machines/sign/{ME}", {"csr": pem})
    shown = ClientCertificate(people / "upper.pem", people / "upper.key")
    shown.certificate.write_text(signed.data["certificate"])
    shown.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )

    for role in ("", ME, OTHER, TENANT_ADMIN):
        assert login(tenant.vault, shown, role).is_refused


def test_a_certificate_for_services_logs_nobody_in(tenant: Tenant) -> None:
    people = tenant.vault.folder / "people"
    issued = _issue(tenant, f"pki/issue/{ME}", {"common_name": ME}).data
    shown = ClientCertificate(people / "service.pem", people / "service.key")
    shown.certificate.write_text(issued["certificate"])
    shown.key.write_text(issued["private_key"])

    for role in ("", ME, TENANT_ADMIN):
        assert login(tenant.vault, shown, role).is_refused


def test_a_host_logs_in_as_itself_alone(tenant: Tenant) -> None:
    assert login(tenant.vault, tenant.first.shown).policies == sorted([AGENT, MACHINE])
    assert login(tenant.vault, tenant.database.shown).policies == [MACHINE]
    for role in (OTHER, "acme-database-1", TENANT_ADMIN, "mutx-operator", "mutx-onboarder", "*"):
        assert login(tenant.vault, tenant.first.shown, role).is_refused, role


def test_a_host_is_good_at_its_own_address_alone(tenant: Tenant) -> None:
    elsewhere = enroll(tenant.vault, tenant.admin, "acme-elsewhere", address="127.0.0.9")
    token = tenant.first.token(tenant.vault)

    assert login(tenant.vault, elsewhere.shown).status == DENIED
    assert login(tenant.vault, elsewhere.shown, headers={"X-Forwarded-For": "127.0.0.9"}).status == DENIED
    assert login(tenant.vault, elsewhere.shown, source="127.0.0.9").status == 200
    assert ask(tenant.vault, "GET", OWN, token=token, source="127.0.0.9").status == DENIED


def test_a_token_needs_its_certificate_to_be_renewed(tenant: Tenant) -> None:
    token = tenant.first.token(tenant.vault)
    path = "auth/token/renew-self"

    assert ask(tenant.vault, "POST", path, {}, token=token).status == NOT_SO
    assert ask(tenant.vault, "POST", path, {}, token=token, shown=tenant.second.shown).status != 200
    assert ask(tenant.vault, "POST", path, {}, token=token, shown=tenant.first.shown).status == 200


def test_a_token_is_renewed_for_a_quarter_of_an_hour_and_a_day_at_most(tenant: Tenant) -> None:
    token = tenant.first.token(tenant.vault)
    said = ask(tenant.vault, "GET", "auth/token/lookup-self", token=token).data

    longest = ask(
        tenant.vault,
        "POST",
        "auth/token/renew-self",
        {"increment": "9000h"},
        token=token,
        shown=tenant.first.shown,
    )

    assert said["creation_ttl"] == 900
    assert said["explicit_max_ttl"] == said.get("period", 0) == 0
    assert longest.content["auth"]["lease_duration"] <= DAY.total_seconds()


def test_a_token_cannot_be_renewed_for_ever(tenant: Tenant) -> None:
    """The same with seconds in place of hours: 24 h are too long for a test."""
    brief = enroll(tenant.vault, tenant.admin, "acme-brief", token_ttl="1s", token_max_ttl="2s")
    token = brief.token(tenant.vault)
    began = datetime.now(UTC)

    while (
        ask(
            tenant.vault,
            "POST",
            "auth/token/renew-self",
            {"increment": "9000h"},
            token=token,
            shown=brief.shown,
        ).status
        == 200
    ):
        assert datetime.now(UTC) - began < timedelta(seconds=15), "it is renewed for ever"

    while ask(tenant.vault, "GET", "auth/token/lookup-self", token=token).status != DENIED:
        assert datetime.now(UTC) - began < timedelta(seconds=15), "it outlives its time"


def test_a_host_that_was_taken_out_is_out_once_its_token_ends(tenant: Tenant) -> None:
    gone = enroll(tenant.vault, tenant.admin, "acme-gone", agent_id="gone")
    token = gone.token(tenant.vault)

    tenant.admin.delete("auth/cert/certs/acme-gone")

    assert login(tenant.vault, gone.shown).is_refused
    renewed = ask(tenant.vault, "POST", "auth/token/renew-self", {}, token=token, shown=gone.shown)
    assert "auth" not in renewed.content, "renewed without its role"


def test_who_holds_the_machines_authority_for_a_host_s_old_key_still_needs_its_role(tenant: Tenant) -> None:
    """A certificate signed before a host was taken out is good again only where the host is enrolled again."""
    again = enroll(tenant.vault, tenant.admin, "acme-again")
    older = ClientCertificate(
        again.shown.certificate.with_suffix(".old"), again.shown.key.with_suffix(".oldkey")
    )
    older.certificate.write_bytes(again.shown.certificate.read_bytes())
    older.key.write_bytes(again.shown.key.read_bytes())
    tenant.admin.delete("auth/cert/certs/acme-again")
    serial = x509.load_pem_x509_certificate(older.certificate.read_bytes()).serial_number

    renewed = enroll(tenant.vault, tenant.admin, "acme-again")
    tenant.admin.write("pki-machines/revoke", {"serial_number": _dashed(serial)})
    crl = ask(tenant.vault, "GET", "pki-machines/crl/pem").text
    tenant.admin.write("auth/cert/crls/machines", {"crl": crl})

    assert login(tenant.vault, older, "acme-again").is_refused
    assert login(tenant.vault, renewed.shown, "acme-again").status == 200


def test_an_administrator_whose_name_is_a_host_s_lends_the_host_nothing(tenant: Tenant) -> None:
    """Identities go by common name: both share one. Rights hang on the token, and so on the authority."""
    shown = tenant.vault.client(tenant.vault.tenant_ca, OTHER)
    administrator = login(tenant.vault, shown)

    host = login(tenant.vault, tenant.second.shown)

    assert administrator.policies == [TENANT_ADMIN]
    assert host.policies == sorted([AGENT, MACHINE])
    assert login(tenant.vault, shown, OTHER).is_refused


def test_the_tenant_s_certificates_open_nobody_else_s_vault(tenant: Tenant) -> None:
    """The platform has one authority for all of its tenants: the name tells them apart."""
    with running_vault("globex", platform_ca=tenant.vault.platform_ca) as theirs:
        token = tenant.first.token(tenant.vault)
        shown = [
            tenant.vault.client(tenant.vault.tenant_ca, "ann@acme.example"),
            tenant.vault.client(tenant.vault.platform_ca, "mutx-operator@acme"),
            tenant.first.shown,
        ]

        for certificate in shown:
            for role in ("", TENANT_ADMIN, "mutx-operator", "mutx-onboarder"):
                assert login(theirs, certificate, role).is_refused
        for stolen in (token, tenant.admin_token):
            assert ask(theirs, "GET", "auth/token/lookup-self", token=stolen).status == DENIED


def test_a_depositor_writes_and_cannot_read(tenant: Tenant) -> None:
    token = ask(
        tenant.vault, "POST", "auth/token/create", {"policies": ["depositor"], "no_default_policy": True, "ttl": "5m"},
        token=tenant.admin_token,
    ).token  # fmt: skip
    path = "byok/data/shared/deposited"

    assert (
        ask(tenant.vault, "POST", path, {"data": {"key": "sk-d"}, "options": {"cas": 0}}, token=token).status
        == 200
    )
    for method, where in (
        ("GET", path), ("GET", OWN), ("GET", "byok/subkeys/shared/deposited"), ("DELETE", path),
        ("DELETE", "byok/metadata/shared/deposited"), ("POST", "byok/destroy/shared/deposited"),
        ("POST", "byok/delete/shared/deposited"), ("POST", "byok/undelete/shared/deposited"),
        ("POST", "byok/metadata/shared/deposited"), ("POST", "byok/config"), ("GET", "byok/config"),
        ("POST", "byok/data/elsewhere/x"), ("GET", "sys/policies/acl/depositor"), ("POST", "auth/token/create"),
    ):  # fmt: skip
        data = {"versions": [1]} if method == "POST" else None
        answer = ask(tenant.vault, method, where, data, token=token)
        assert answer.status == DENIED, where
        assert "sk-" not in answer.text


def test_a_version_is_written_once(tenant: Tenant) -> None:
    deposit(tenant.admin, "shared/once", "first")

    for options in ({"cas": 0}, {"cas": 7}, {}):
        data = {"data": {"key": "second"}, "options": options}
        answer = ask(tenant.vault, "POST", "byok/data/shared/once", data, token=tenant.admin_token)
        assert answer.status == NOT_SO
    assert tenant.admin.read("byok/data/shared/once")["data"] == {"key": "first"}  # type: ignore[index]


@pytest.mark.parametrize(
    ("path", "data", "is_told_apart"),
    [
        ("auth/approle/role/tried", {"token_ttl": "60"}, True),
        ("byok/data/shared/tried", {"data": {"a": "b"}, "options": {"cas": 0}}, True),
        ("auth/cert/certs/tried", {"certificate": ""}, False),
        ("pki/roles/tried", {"allowed_domains": "x"}, False),
        ("identity/entity/name/tried", {"metadata": {"a": "b"}}, False),
    ],
    ids=["approle", "kv", "cert", "pki", "identity"],
)
def test_where_the_server_tells_creating_from_changing(
    tenant: Tenant, path: str, data: dict[str, Any], is_told_apart: bool
) -> None:
    """Where it does not, `create` is no right at all, and `update` overwrites: enrolling has to look first."""
    ask(tenant.vault, "POST", "sys/auth/approle", {"type": "approle"}, token=tenant.admin_token)
    parent = path.rpartition("/")[0]
    text = f'path "{parent}/+" {{ capabilities = ["create"] }}'
    token = _token(tenant, text)

    first, second = (ask(tenant.vault, "POST", path, data, token=token).status for _ in range(2))

    assert first in ({200, 204} if is_told_apart else {DENIED})
    assert second == DENIED


APPROLE = {"token_policies": "agent", "token_ttl": "900", "secret_id_num_uses": "1", "secret_id_ttl": "300"}
WITHOUT_SECRET = {**APPROLE, "bind_secret_id": False, "token_bound_cidrs": "127.0.0.1/32"}
WRITES = '{ capabilities = ["create", "update"]'
ANY_PARAMETER = 'allowed_parameters = { "token_policies" = ["agent"], "*" = [] }'
SOME_PARAMETERS = 'allowed_parameters = { "token_policies" = ["agent"], "token_ttl" = [] }'


@pytest.mark.parametrize(
    ("policy", "below", "data", "gets_through"),
    [
        (f'path "auth/approle/role/agent-*" {WRITES} }}', "/custom-secret-id", {"secret_id": "chosen"}, True),
        (
            f'path "auth/approle/role/agent-+" {WRITES} }}',
            "/custom-secret-id",
            {"secret_id": "chosen"},
            False,
        ),
        (f'path "auth/approle/role/agent-+" {WRITES} }}', "", APPROLE, False),
        (f'path "auth/approle/role/+" {WRITES} }}', "/custom-secret-id", {"secret_id": "chosen"}, False),
        (f'path "auth/approle/role/+" {WRITES}\n {ANY_PARAMETER} }}', "", WITHOUT_SECRET, True),
        (f'path "auth/approle/role/+" {WRITES}\n {SOME_PARAMETERS} }}', "", WITHOUT_SECRET, False),
    ],
    ids=["a star", "a partial +, below", "a partial +", "a whole +", "any parameter", "some parameters"],
)
def test_ways_round_of_application_roles_are_as_the_lints_know_them(
    tenant: Tenant, policy: str, below: str, data: dict[str, Any], gets_through: bool
) -> None:
    path = f"auth/approle/role/agent-9{below}"
    ask(tenant.vault, "POST", "sys/auth/approle", {"type": "approle"}, token=tenant.admin_token)
    # Made anew: what another case has made of it would stay where nothing is said about it.
    ask(tenant.vault, "DELETE", "auth/approle/role/agent-9", token=tenant.admin_token)
    ask(tenant.vault, "POST", "auth/approle/role/agent-9", APPROLE, token=tenant.admin_token)

    answer = ask(tenant.vault, "POST", path, data, token=_token(tenant, policy))

    assert (answer.status in {200, 204}) is gets_through, answer
    assert list(lint_policy("tried", policy)), "the lints let it pass"


def test_a_role_made_without_a_secret_gives_keys_to_whoever_knows_its_name(tenant: Tenant) -> None:
    """What `"*" = []` would have led to, to its end."""
    for path, data in (
        ("sys/auth/approle", {"type": "approle"}),
        ("sys/policies/acl/keys", {"policy": 'path "byok/data/shared/*" { capabilities = ["read"] }'}),
    ):
        ask(tenant.vault, "POST", path, data, token=tenant.admin_token)
    token = _token(tenant, f'path "auth/approle/role/+" {WRITES}\n allowed_parameters = {{ "*" = [] }} }}')
    ask(
        tenant.vault,
        "POST",
        "auth/approle/role/evil",
        {**WITHOUT_SECRET, "token_policies": "keys"},
        token=token,
    )
    role_id = tenant.admin.read("auth/approle/role/evil/role-id")["role_id"]  # type: ignore[index]

    evil = ask(tenant.vault, "POST", "auth/approle/login", {"role_id": role_id}).token

    assert ask(tenant.vault, "GET", SHARED, token=evil).data["data"] == {"key": "sk-of-all"}


def test_older_versions_stay_readable_until_they_are_destroyed(tenant: Tenant) -> None:
    """The server has no right for the version in force alone: a key that was rotated goes by being destroyed."""
    path = "byok/data/agents/agent-1/rotated"
    deposit(tenant.admin, "agents/agent-1/rotated", "sk-older")
    deposit(tenant.admin, "agents/agent-1/rotated", "sk-newer", 1)
    token = tenant.first.token(tenant.vault)
    assert ask(tenant.vault, "GET", f"{path}?version=1", token=token).data["data"] == {"key": "sk-older"}

    tenant.admin.write("byok/destroy/agents/agent-1/rotated", {"versions": [1]})

    assert ask(tenant.vault, "GET", f"{path}?version=1", token=token).status == GONE
    assert ask(tenant.vault, "GET", path, token=token).data["data"] == {"key": "sk-newer"}


def test_who_has_a_certificate_of_the_administrators_authority_is_one(tenant: Tenant) -> None:
    """Whatever they were given it for: depositors need an authority of their own."""
    role = {
        "certificate": tenant.vault.tenant_ca.pem,
        "token_policies": "depositor",
        "allowed_common_names": "dan",
    }
    tenant.admin.write("auth/cert/certs/depositor", role)
    shown = tenant.vault.client(tenant.vault.tenant_ca, "dan")

    assert login(tenant.vault, shown, "depositor").status == 200
    assert login(tenant.vault, shown, TENANT_ADMIN).policies == [TENANT_ADMIN]


def test_a_wrapped_key_is_read_once(tenant: Tenant) -> None:
    wrapped = ask(
        tenant.vault, "GET", OWN, token=tenant.first.token(tenant.vault), headers={"X-Vault-Wrap-TTL": "60s"}
    )
    token = str(wrapped.content["wrap_info"]["token"])

    first = ask(tenant.vault, "POST", "sys/wrapping/unwrap", {}, token=token)
    again = ask(tenant.vault, "POST", "sys/wrapping/unwrap", {}, token=token)

    assert first.data["data"] == {"key": "sk-of-the-first"}
    assert again.status in {DENIED, NOT_SO}


def test_a_request_signed_twice_gives_two_certificates_of_one_key(tenant: Tenant) -> None:
    """So a request that was seen by others is of no use to them: it holds no key."""
    first, second = sign(tenant.vault, tenant.admin, ME), sign(tenant.vault, tenant.admin, OTHER)
    mixed = ClientCertificate(first.certificate, second.key)

    with pytest.raises(OSError, match="KEY_VALUES_MISMATCH"):
        login(tenant.vault, mixed, ME)


def _token(tenant: Tenant, policy: str) -> str:
    """Return a token with this policy alone."""
    tenant.admin.write("sys/policies/acl/tried", {"policy": policy})
    data = {"policies": ["tried"], "no_default_policy": True, "ttl": "60s"}
    return ask(tenant.vault, "POST", "auth/token/create", data, token=tenant.admin_token).token


def _dashed(serial: int) -> str:
    return ":".join(f"{byte:02x}" for byte in serial.to_bytes((serial.bit_length() + 7) // 8, "big"))
