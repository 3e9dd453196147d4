"""What the tenant gives the program: files that are what they should be, and all others, each with a clear error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from get_vault import vault_version
from hypothesis import given, settings
from hypothesis import strategies as st
from lawful import handover_text
from make_vault_manifest import BAD_INPUT, TARGET, current_manifest, rendered
from make_vault_manifest import main as make_manifest_file
from mutx_vault_verify.document import canonical, parse, shown
from mutx_vault_verify.handover import Handover, parse_handover
from mutx_vault_verify.main import main
from mutx_vault_verify.manifest import parse_manifest
from mutx_vault_verify.problem import InputProblem
from release import Release

from mutx_infra.canonical import canonical_json
from tests.support.authorities import make_authority

HANDOVER = json.loads(handover_text())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture
def release(tmp_path):
    return Release(tmp_path)


def read(text: str) -> Handover:
    return parse_handover(text, "acme.vault.json")


def test_the_checked_in_manifest_is_that_of_the_templates():
    """Else: `.venv/bin/python tools/make_vault_manifest.py`."""
    assert TARGET.read_text() == rendered(current_manifest())


def test_the_manifest_knows_the_server_that_the_long_tests_build():
    assert current_manifest()["products"]["vault"]["servers"][-1] == vault_version()


def test_the_toolkit_and_the_tenant_mean_the_same_bytes():
    assert canonical(current_manifest()) == canonical_json(current_manifest())


def test_what_the_operator_writes_is_read():
    found = read(handover_text())

    assert (found.tenant, found.url, found.seal, len(found.machines)) == (
        "acme",
        "https://10.0.1.5:8200",
        "transit",
        1,
    )


@pytest.mark.parametrize("cut", [0, 1, 100, 1000, -2])
def test_a_truncated_hand_over_file_is_refused(cut):
    with pytest.raises(InputProblem, match="is no hand-over file") as caught:
        read(handover_text()[:cut])

    assert (caught.value.code, caught.value.exit_status) == ("handover-invalid", 3)


WRONG = {
    "unknown-field": {"more": 1}, "http": {"url": "http://10.0.1.5:8200"}, "a-path": {"url": "https://10.0.1.5:8200/v1"},
    "another-kind": {"kind": "vault-claim"}, "another-version": {"version": 2}, "a-mark": {"tenant": "{*}"},
    "two-authorities": {"admin_ca": HANDOVER["admin_ca"] * 2}, "no-authority": {"authority": "none"},
    "a-digest": {"digests": {"policy agent": "0"}},
    "a-key-of-plus": {"machines": [{**HANDOVER["machines"][0], "key": "+"}]},
    "one-machine-twice": {"machines": HANDOVER["machines"] * 2}, "a-line-break": {"seal": "transit\n"},
    "no-server": {"product": "a b"}, "an-address": {"machines": [{**HANDOVER["machines"][0], "address": "0.0.0.0/0"}]},
}  # fmt: skip


@pytest.mark.parametrize("changed", WRONG.values(), ids=WRONG)
def test_a_hand_over_file_with_something_odd_in_it_is_refused(changed):
    with pytest.raises(InputProblem):
        read(json.dumps({**HANDOVER, **changed}))


@pytest.mark.parametrize(
    "name", sorted(set(HANDOVER) - {"version", "kind", "server_name", "machines", "sealed_by"})
)
def test_a_hand_over_file_without_a_field_is_refused(name):
    with pytest.raises(InputProblem):
        read(json.dumps({field: value for field, value in HANDOVER.items() if field != name}))


@settings(deadline=None)
@given(st.text(max_size=200) | JSON.map(json.dumps))
def test_any_text_is_read_or_refused(text):
    with pytest.raises(InputProblem):
        read(text)


@settings(deadline=None)
@given(name=st.sampled_from(sorted(HANDOVER)), value=JSON)
def test_any_field_is_read_or_refused(name, value):
    try:
        found = read(json.dumps({**HANDOVER, name: value}))
    except InputProblem:
        return
    assert isinstance(found, Handover)


def test_a_signed_manifest_is_read_in_any_layout(release):
    manifest = current_manifest()

    found = parse_manifest(
        json.dumps(manifest, indent=7), release.signature_of(manifest), release.public, "it"
    )

    assert found.data == manifest


@pytest.mark.parametrize("product", [None, "openbao", "vault"])
@pytest.mark.parametrize("part", ["policies", "roles", "reads", "lists", "seals", "servers", "release"])
def test_a_manifest_that_somebody_changed_is_refused(release, part, product):
    manifest = current_manifest()
    signature = release.signature_of(manifest)
    parts = manifest["products"][product] if product else manifest
    parts[part] = None

    with pytest.raises(InputProblem) as caught:
        parse_manifest(rendered(manifest), signature, release.public, "it")

    assert (caught.value.code, caught.value.exit_status) == ("manifest-forged", 3)


@pytest.mark.parametrize(
    "signature", ["", "AAAA", "no base64 ÿ", "MEUCIQ=="], ids=["none", "short", "letters", "cut"]
)
def test_what_is_no_signature_is_refused(release, signature):
    with pytest.raises(InputProblem) as caught:
        parse_manifest(rendered(current_manifest()), signature, release.public, "it")

    assert caught.value.code == "manifest-forged"


def test_another_release_s_key_does_not_fit(release, tmp_path):
    (tmp_path / "other").mkdir()
    manifest = current_manifest()

    with pytest.raises(InputProblem) as caught:
        parse_manifest(
            rendered(manifest), release.signature_of(manifest), Release(tmp_path / "other").public, "it"
        )

    assert caught.value.code == "manifest-forged"


def pem(key) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(encoding, form).decode()


@pytest.mark.parametrize("key", ["", "no PEM", pem(ec.generate_private_key(ec.SECP384R1())),
                                 pem(rsa.generate_private_key(65537, 2048))],
                         ids=["none", "text", "p-384", "rsa"])  # fmt: skip
def test_a_key_that_is_none_of_a_release_is_refused(release, key):
    manifest = current_manifest()

    with pytest.raises(InputProblem) as caught:
        parse_manifest(rendered(manifest), release.signature_of(manifest), key, "it")

    assert caught.value.code == "manifest-key"


@pytest.mark.parametrize("changed", [{"version": 1}, {"kind": "vault-claim"}, {"more": {}}, {"policies": []},
                                     {"products": {"openbao": {}}}, {"products": {"openbao": 1}}],
                         ids=["version", "kind", "field", "type", "product", "no-product"])  # fmt: skip
def test_a_manifest_of_another_make_is_refused_though_it_is_signed(release, changed):
    manifest = {**current_manifest(), **changed}

    with pytest.raises(InputProblem) as caught:
        parse_manifest(rendered(manifest), release.signature_of(manifest), release.public, "it")

    assert caught.value.code == "manifest-invalid"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"kind": "vault-manifest", "kind": "x"}', "[" * 100_000, "NaN"]
)
def test_what_is_no_manifest_is_refused(release, text):
    signed = release.signature_of(json.loads(text) if text in ("[]", "7") else None)

    with pytest.raises(InputProblem) as caught:
        parse_manifest(text, signed, release.public, "it")

    assert caught.value.code == "manifest-invalid"


@settings(deadline=None)
@given(st.text(max_size=60))
def test_nothing_that_is_shown_acts_on_a_terminal(text):
    assert shown(text).isprintable()
    assert len(shown(text)) <= 80


def test_one_thing_said_twice_has_no_meaning():
    with pytest.raises(ValueError, match="one thing twice"):
        parse('{"a": {"b": 1, "b": 1}}')


class Given:
    """All that a tenant has, in files; a test takes one away or changes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.release = Release(folder)
        tenant = make_authority("acme administrators")
        own = tenant.client(folder, "ann")
        handover = {**HANDOVER, "admin_ca": tenant.pem, "url": "https://127.0.0.1:1"}
        (folder / "vault.json").write_text(json.dumps(handover))
        manifest = self.release.sign(current_manifest())
        self.options = {"vault": folder / "vault.json", "manifest": manifest, "release-key": self.release.key_file,
                        "cert": own.certificate, "key": own.key}  # fmt: skip

    def run(self, **changed: object) -> int:
        options = {**self.options, **{name.replace("_", "-"): value for name, value in changed.items()}}
        return main([f"--{name}={value}" for name, value in options.items() if value is not None])


@pytest.fixture
def given_files(tmp_path):
    return Given(tmp_path)


def code(capsys) -> str:
    return capsys.readouterr().err.partition("]")[0].removeprefix("error[")


@pytest.mark.parametrize("option", ["vault", "manifest", "cert", "signature", "release-key", "platform-ca"])
def test_a_file_that_is_not_there_is_named(given_files, capsys, option):
    status = given_files.run(**{option: given_files.folder / "nowhere"})

    assert (status, code(capsys)) == (3, "file-unreadable")


@pytest.mark.parametrize("option", ["cert", "key"])
def test_a_certificate_that_is_not_given_is_asked_for(given_files, capsys, option):
    assert (given_files.run(**{option: None}), code(capsys)) == (3, "certificate-missing")


def test_a_key_that_is_not_the_certificate_s_is_refused(given_files, capsys, tmp_path):
    other = make_authority("other").client(tmp_path, "other")

    assert (given_files.run(key=other.key), code(capsys)) == (3, "certificate-unusable")


def test_a_certificate_that_is_none_is_refused(given_files, capsys):
    assert (given_files.run(cert=given_files.options["key"]), code(capsys)) == (3, "certificate-unusable")


def test_a_certificate_of_another_authority_is_refused(given_files, capsys, tmp_path):
    other = make_authority("acme administrators").client(tmp_path, "eve")

    assert (given_files.run(cert=other.certificate, key=other.key), code(capsys)) == (3, "handover-not-yours")


def test_a_manifest_of_another_release_is_refused(given_files, capsys):
    stale = given_files.release.sign({**current_manifest(), "release": "0.0.9"}, "stale.json")

    assert (given_files.run(manifest=stale), code(capsys)) == (3, "manifest-release")


def test_a_server_that_the_release_does_not_know_is_refused(given_files, capsys):
    file = given_files.folder / "vault.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "product": "other"}))

    assert (given_files.run(), code(capsys)) == (3, "manifest-product")


def test_a_package_without_a_release_s_key_asks_for_it(given_files, capsys):
    assert (given_files.run(release_key=None), code(capsys)) == (3, "manifest-key")


@pytest.mark.parametrize(
    "url", ["http://10.0.1.5:8200", "https://", "https://a/b", "https://u:p@a", "https://[", "x"]
)
def test_an_address_that_is_none_is_refused(given_files, capsys, url):
    assert (given_files.run(address=url), code(capsys)) == (3, "address-invalid")


def test_a_file_of_an_unreasonable_size_is_refused(given_files, capsys):
    large = given_files.folder / "large"
    large.write_bytes(b" " * 5_000_000)

    assert (given_files.run(vault=large), code(capsys)) == (3, "file-unreadable")


@pytest.mark.parametrize("arguments", [[], ["--nonsense"], ["--timeout=0"]], ids=["none", "unknown", "limit"])
def test_wrong_usage_is_told_from_bad_input(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2


def test_the_release_side_signs_what_the_tenant_reads(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (tmp_path / "key.pem").write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    (tmp_path / "ca.pem").write_text(make_authority("mutx platform").pem)

    status = make_manifest_file(
        [
            f"--out={tmp_path / 'm.json'}",
            f"--sign-with={tmp_path / 'key.pem'}",
            f"--platform-ca={tmp_path / 'ca.pem'}",
        ]
    )

    found = parse_manifest(
        (tmp_path / "m.json").read_text(), (tmp_path / "m.json.sig").read_text(), pem(key), "m.json"
    )
    assert status == 0
    assert len(found["platform_authorities"]) == 1


@pytest.mark.parametrize("content", [b"", b"no key"], ids=["empty", "text"])
def test_the_release_side_refuses_what_is_no_key(tmp_path, content, capsys):
    (tmp_path / "key.pem").write_bytes(content)

    status = make_manifest_file([f"--out={tmp_path / 'm.json'}", f"--sign-with={tmp_path / 'key.pem'}"])

    assert (status, (tmp_path / "m.json").exists()) == (BAD_INPUT, False)
    assert capsys.readouterr().err.startswith("error[manifest-input]")
