"""What a hand-over leaves with whom, as tables and as JSON; no rules here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mutx_infra.cli.output import Output

from mutx_infra.errors import SettingsError

if TYPE_CHECKING:
    from mutx_infra.vault.handed_out import HandedOut


def read_given(path: Path) -> str:
    """Return the text of a file that a tenant sent.

    Raises:
        SettingsError: it cannot be read (code `vault-file-unreadable`).
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(
            f"{path} cannot be read",
            code="vault-file-unreadable",
            remedy="give the file that the tenant sent",
        ) from exc


def show_handed(out: Output, handed: HandedOut) -> None:
    """Show what the tenant holds from now on, what the platform does not, and the digests to compare."""
    handover = handed.handover
    out.table(
        ("vault", handover.tenant),
        [
            ("state", str(handed.record.state)),
            ("url", handover.url),
            ("seal", f"{handover.seal}, for trials: BYOK-1 fails" if handed.is_trial else handover.seal),
            ("release", handover.release),
            *(("the tenant holds", text) for text in handed.TENANT_HOLDS),
            *(("the platform never held", text) for text in handed.never_held),
            *(
                ("the platform holds until it is claimed", text)
                for text in handed.PLATFORM_HOLDS_UNTIL_CLAIMED
            ),
        ],
    )
    out.table(("policy or login", "SHA-256"), sorted(handover.digests.items()))
    for host in handed.waiting:
        out.say(
            f"{host} has made no request for a certificate yet; run the same command once its playbook has come through"
        )
    if handed.is_empty:
        out.say(
            f"the Vault is empty: give {handed.path} to the tenant, who makes it by `mutx-infra vault initialise "
            f"{handover.tenant}`; then run this command again"
        )
        return
    out.say(
        f"give {handed.path} to the tenant, who claims the Vault by it: `mutx-infra vault claim {handover.tenant}`"
    )


def handed_json(handed: HandedOut) -> dict[str, object]:
    """Return the same for programs."""
    handover = handed.handover
    return {
        "tenant": handover.tenant,
        "state": str(handed.record.state),
        "handover": handed.path,
        "url": handover.url,
        "seal": handover.seal,
        "release": handover.release,
        "digests": handover.digests,
        "waiting": list(handed.waiting),
        "tenant_holds": list(handed.TENANT_HOLDS),
        "platform_never_held": list(handed.never_held),
        **({"awaits": "vault initialise"} if handed.is_empty else {}),
        "platform_holds_until_claimed": list(handed.PLATFORM_HOLDS_UNTIL_CLAIMED),
    }
