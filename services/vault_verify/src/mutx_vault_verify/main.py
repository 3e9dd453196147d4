"""The console script: reads what the tenant gives it, asks the Vault, and prints the verdict."""

from __future__ import annotations

import argparse
import getpass
import importlib.resources
import logging
import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from mutx_vault_verify.certificate import fingerprint, is_issued_by, read_all, read_one
from mutx_vault_verify.check import judged
from mutx_vault_verify.connection import Address, Limits, parse_address
from mutx_vault_verify.document import shown, texts
from mutx_vault_verify.expectation import Expectation, expect
from mutx_vault_verify.handover import Handover, parse_handover
from mutx_vault_verify.manifest import Manifest, parse_manifest
from mutx_vault_verify.problem import InputProblem, Problem, Unanswered
from mutx_vault_verify.report import as_json, as_table
from mutx_vault_verify.survey import Survey, accepted, survey
from mutx_vault_verify.vault import LoginRefused, Vault

NOT_AS_RELEASED, INTERRUPTED, DEFECT = 6, 130, 1
LARGEST_FILE = 4 * 1024 * 1024
TOTAL_REQUESTS = 40
"""All requests together may take so many times one's limit."""
LOGIN_MOUNT = "cert"
PINNED_KEY = "release-key.pem"
logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify; the exit status says 0 as released, 6 not, 5 no answer, 3 bad input, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        found, facts = _verify(options, os.environ)
    except Problem as problem:
        sys.stderr.write(f"error[{problem.code}]: {problem.message}\n  hint: {problem.remedy}\n")
        return problem.exit_status
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: nothing was changed\n")
        return INTERRUPTED
    except Exception:
        logger.exception("a defect of this program")
        sys.stderr.write(
            "error[defect]: this program has a defect; no verdict was reached\n  hint: report the trace\n"
        )
        return DEFECT
    sys.stdout.write(
        as_json(found, facts) if options.json else as_table(found, facts, is_verbose=not options.quiet)
    )
    return 0 if found.is_good else NOT_AS_RELEASED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mutx-vault-verify",
        description="Compare a tenant's Vault with what the release says that it holds; anything else fails.",
        epilog="example: mutx-vault-verify --vault acme.vault.json --manifest vault-manifest.json "
        "--release-key release-key.pem --cert ann.pem --key ann.key",
    )
    add = parser.add_argument
    add(
        "--vault",
        required=True,
        type=Path,
        metavar="FILE",
        help="the hand-over file, from the platform's operator",
    )
    add("--manifest", required=True, type=Path, metavar="FILE", help="the release's manifest")
    add(
        "--signature", type=Path, metavar="FILE", help="its signature; default: the manifest's name with .sig"
    )
    add(
        "--release-key",
        type=Path,
        metavar="FILE",
        help="the release's public key; default: the one in this package",
    )
    add("--cert", type=Path, metavar="FILE", help="your certificate in PEM (VAULT_CLIENT_CERT)")
    add("--key", type=Path, metavar="FILE", help="its key (VAULT_CLIENT_KEY)")
    add("--address", metavar="URL", help="another way to the Vault than the hand-over file's (VAULT_ADDR)")
    add("--platform-ca", type=Path, metavar="FILE", help="the platform's authority, if you know it: PEM")
    add(
        "--accept",
        action="append",
        default=[],
        metavar="NAME",
        help="what you changed yourself, as the table names it",
    )
    add(
        "--allow-trial-seal",
        action="store_true",
        help="take a seal whose key lies on the Vault's host: for trials",
    )
    add("--timeout", type=_seconds, default=15.0, metavar="S", help="seconds for each request; default: 15")
    add("--quiet", action="store_true", help="show only what fails")
    add("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _seconds(value: str) -> float:
    found = float(value)
    if not 0 < found <= 600:  # noqa: PLR2004 - said in the message
        raise argparse.ArgumentTypeError("give 0 to 600 seconds")
    return found


def _verify(options: argparse.Namespace, variables: Mapping[str, str]) -> tuple[Survey, dict[str, str]]:
    handover = parse_handover(_read(options.vault, "--vault"), str(options.vault))
    manifest = _manifest(options)
    _same_release(manifest, handover)
    cert, key = _own(options.cert, variables, "CERT"), _own(options.key, variables, "KEY")
    _is_of_the_tenant(cert, handover)
    platform_ca = _platform_ca(options.platform_ca)
    url = options.address or variables.get("VAULT_ADDR") or handover.url
    # A name other than the URL's host is the hand-over file's; another address leads to the same certificate.
    name = handover.server_name or (
        parse_address(handover.url, None, None).host if url != handover.url else None
    )
    address = parse_address(url, name, variables.get("VAULT_HTTP_PROXY"))
    limits = Limits(options.timeout, options.timeout * TOTAL_REQUESTS)
    want = expect(manifest, handover, datetime.now(UTC), takes_trial_seal=options.allow_trial_seal)
    vault = Vault(address, make_context(handover, cert, key), limits)
    try:
        found = accepted(_survey(vault, want, platform_ca), options.accept)
    finally:
        vault.end()
    return found, _facts(address, want, found)


def _survey(vault: Vault, want: Expectation, platform_ca: str | None) -> Survey:
    admin = want.manifest["admin"]
    try:
        auth = vault.login(LOGIN_MOUNT, admin)
        policies = texts(auth.get("policies"), "policies")
        said = [] if policies == want.roles[admin]["token_policies"] else [f"gave {shown(policies)}"]
    except LoginRefused as refusal:
        said = [f"refused for your certificate, which is of the authority of the hand-over file: {refusal}"]
        return Survey(None, (judged(f"login {admin}", said),))
    except Unanswered as reason:
        said = [str(reason)]
    found = survey(vault, want, platform_ca)
    return Survey(found.state, (judged(f"login {admin}", said), *found.checks))


def _facts(address: Address, want: Expectation, found: Survey) -> dict[str, str]:
    handover = want.handover
    authorities = " ".join(fingerprint(each) for each in handover.authorities)
    return {
        "tenant": handover.tenant,
        "vault": str(address),
        "known by": f"SHA-256 {authorities}",
        "server": want.manifest["called"],
        "release": want.manifest.release,
        "sealed by": handover.sealed_by or handover.seal,
        "state": found.state or "unknown",
        "at": want.at.isoformat(timespec="seconds"),
    }


def _manifest(options: argparse.Namespace) -> Manifest:
    signature = options.signature or options.manifest.with_name(options.manifest.name + ".sig")
    key = _read(options.release_key, "--release-key") if options.release_key else _pinned_key()
    text = _read(options.manifest, "--manifest")
    return parse_manifest(text, _read(signature, "--signature"), key, str(options.manifest))


def _pinned_key() -> str:
    file = importlib.resources.files("mutx_vault_verify").joinpath(PINNED_KEY)
    if file.is_file():
        return file.read_text(encoding="ascii")
    raise InputProblem(
        "this package has no release's public key in it",
        code="manifest-key",
        remedy="give --release-key: the file that the release's page names",
    )


def _same_release(manifest: Manifest, handover: Handover) -> None:
    if manifest.release != handover.release:
        raise InputProblem(
            f"the manifest is of release {shown(manifest.release)}, the Vault was made by {shown(handover.release)}",
            code="manifest-release",
            remedy=f"fetch the manifest of release {shown(handover.release)}",
        )


def _own(given: Path | None, variables: Mapping[str, str], what: str) -> Path:
    found = given or (Path(variables[name]) if variables.get(name := f"VAULT_CLIENT_{what}") else None)
    if found is None:
        raise InputProblem(
            f"your {'certificate' if what == 'CERT' else 'key'} is not given",
            code="certificate-missing",
            remedy=f"give --{what.lower()} FILE, or set VAULT_CLIENT_{what}",
        )
    return found


def _is_of_the_tenant(cert: Path, handover: Handover) -> None:
    """See that the hand-over file names the authority that the tenant's own certificate is of: it could be forged."""
    try:
        chain = read_all(_read(cert, "--cert"))
    except ValueError:
        raise _unusable(cert) from None
    if not any(is_issued_by(each, handover.admin_ca) for each in chain):
        raise InputProblem(
            f"{cert} is not of the authority that the hand-over file calls yours "
            f"(SHA-256 {fingerprint(handover.admin_ca)})",
            code="handover-not-yours",
            remedy="give a certificate of your administrators' authority; if you did, the file is not of your Vault, "
            "or somebody put another authority in it",
        )


def _platform_ca(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return fingerprint(read_one(_read(path, "--platform-ca")))
    except ValueError:
        raise _unusable(path) from None


def make_context(handover: Handover, cert: Path, key: Path) -> ssl.SSLContext:
    """Return a context that trusts the hand-over file's authorities alone, and shows the tenant's certificate.

    Raises:
        InputProblem: certificate and key cannot be read, or do not belong together (`certificate-unusable`).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=handover.authority)
    try:
        context.load_cert_chain(cert, key, password=lambda: _passphrase(key))
    except (OSError, ValueError):
        raise _unusable(cert, key) from None
    return context


def _passphrase(key: Path) -> str:
    if not sys.stdin.isatty():
        raise _unusable(key)
    return getpass.getpass(f"Passphrase of {key}: ")


def _unusable(*files: Path) -> InputProblem:
    return InputProblem(
        f"{' and '.join(map(str, files))} cannot be used",
        code="certificate-unusable",
        remedy="give PEM files: a certificate and, where asked, its own key; a key with a passphrase needs a terminal",
    )


def _read(path: Path, option: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        text = content.decode()
    except (OSError, ValueError) as error:
        raise _unreadable(
            path, option, (isinstance(error, OSError) and error.strerror) or "it is no text"
        ) from None
    if len(content) > LARGEST_FILE:
        raise _unreadable(path, option, "it is larger than any such file")
    return text


def _unreadable(path: Path, option: str, reason: str) -> InputProblem:
    return InputProblem(
        f"{path} cannot be read: {reason}", code="file-unreadable", remedy=f"check what {option} names"
    )


if __name__ == "__main__":
    sys.exit(main())
