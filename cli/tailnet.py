"""`mutx-infra tailnet …`: the policy that the registry asks for, who reaches whom by it, how a live tailnet differs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli import history, leave
from mutx_infra.cli.output import ConsoleReporter, Format, emit
from mutx_infra.cli.policy_views import policy_json, policy_rows
from mutx_infra.cli.tenant_views import changes_json

from mutx_infra import bootstrap, bootstrap_tailnet
from mutx_infra.changes import ChangeSet
from mutx_infra.errors import CHANGES_PENDING, OutsideError, UsageError, VerificationError

if TYPE_CHECKING:
    from mutx_infra.tailnet.access import Findings, Reached, TailnetAccess
    from mutx_infra.tailnet.composition import Composed, Reason
    from mutx_infra.tailnet.lints import Lint
    from mutx_infra.tailnet.policy import Grant, Policy
    from mutx_infra.tailnet.writer import TailnetWriter
    from mutx_infra.tailnet_ports import TailnetReader

app = typer.Typer(no_args_is_help=True, help="Who reaches whom over the tailnet, and why.")
leave.add_to(app)

_STDIN = "-"
PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy", metavar="FILE", help="A live policy as Tailscale's API gives it, in JSON; - for standard input.",
    ),
]  # fmt: skip


@app.command(epilog="Example: mutx-infra tailnet show --tenant acme")
def show(
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", metavar="TENANT", help="Only this tenant's.", autocompletion=c.tenant_names),
    ] = None,
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Show who may reach whom, by the policy that the registry asks for, with the reason of each grant."""
    out = c.make_output(as_json=as_json, output=output)
    composed = _access(environment).wanted()
    pairs = [pair for pair in _pairs(composed) if tenant in (None, pair[1].whose)]
    if out.format is Format.JSON:
        out.data({"grants": [_grant_json(grant, reason) for grant, reason in pairs]})
        return
    out.table(
        ("from", "to", "port", "whose", "reason"),
        [
            (
                ", ".join(grant.sources),
                ", ".join(grant.destinations),
                ", ".join(grant.ip),
                reason.whose,
                reason.flow.reason,
            )
            for grant, reason in pairs
        ],
    )


@app.command(epilog="Example: mutx-infra tailnet policy > policy.json")
def policy(environment: c.EnvironmentOption = None) -> None:
    """Print the policy file that the registry asks for: JSON, one entry a line, in a stable order."""
    emit(_access(environment).wanted().policy.text())


@app.command(epilog="Example: mutx-infra tailnet reach alice@example.com tag:t-acme-agent:22")
def reach(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A login, tag, group or host.")],
    target: Annotated[
        str, typer.Argument(metavar="DESTINATION:PORT", help="A tag, login or host, and a port.")
    ],
    protocol: Annotated[str, typer.Option("--proto", help="IP protocol.")] = "tcp",
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            "--attribute",
            metavar="NAME=VALUE",
            help="Of the source's device, e.g. node:os=linux (may be repeated).",
        ),
    ] = None,
    live: PolicyOption = None,
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Say whether a connection opens, and why. Exits 6 where it does not."""
    from mutx_infra.tailnet.access import parse_question  # noqa: PLC0415 - keeps the other commands quick

    out = c.make_output(as_json=as_json, output=output)
    question = parse_question(source, target, protocol)
    reached = _access(environment).reach(question, _live(live), dict(map(_attribute, attribute or ())))
    if out.format is Format.JSON:
        out.data(_reached_json(reached))
    else:
        emit("".join(f"{line}\n" for line in _reached_lines(reached)))
    if not reached.answer.is_open:
        raise typer.Exit(VerificationError.exit_status)


@app.command(epilog="Example: mutx-infra tailnet check")
def check(
    live: PolicyOption = None,
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Hold a live tailnet against the registry: policy, devices and keys; with --policy, a policy alone.

    Names wide or unknown grants, failing tests, who has too much or too little, unknown devices, missing tags, and
    keys that live too long or are good for several devices. Exits 6 if there is anything.
    """
    out = c.make_output(as_json=as_json, output=output)
    access, policy = _access(environment), _live(live)
    if policy is not None:
        findings, fine = access.findings(policy), "the policy is the registry's"
    else:
        findings, fine = (
            access.findings_of(_reader(environment).read()),
            "the tailnet is as the registry has it",
        )
    if out.format is Format.JSON:
        out.data(_findings_json(findings))
    elif rows := _finding_rows(findings):
        out.table(("what", "where", "said"), rows)
    if not findings.is_clean:
        raise VerificationError(
            "what is live is not what the registry asks for",
            code="tailnet-differs",
            remedy="see what differs above; `mutx-infra tailnet policy` prints the policy that is asked for",
        )
    out.say(fine)


@app.command(epilog="Example: mutx-infra tailnet preview")
def preview(
    live: PolicyOption = None,
    policy_only: Annotated[
        bool, typer.Option("--policy-only", help="Leave the tailnet's settings out: no engine is needed.")
    ] = False,
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Show what `apply` would change: who gains and who loses which access, then the tailnet's settings.

    Exits 10 if anything would change.
    """
    out = c.make_output(as_json=as_json, output=output)
    access, policy, settings = _access(environment), _live(live), ChangeSet()
    if policy is None:
        policy = _read(_reader(environment).policy())
        if not policy_only:
            settings = _writer(environment).preview()
    change = access.change(policy)
    is_empty = change.is_empty and settings.is_empty
    if out.format is Format.JSON:
        out.data(
            {**policy_json(change), "changes": not is_empty, "settings": changes_json(settings)["resources"]}
        )
    elif not is_empty:
        out.table(("change", "who or what", "access"), [*policy_rows(change), *_settings_rows(settings)])
    if not is_empty:
        raise typer.Exit(CHANGES_PENDING)
    out.say("nothing would change")


@app.command(epilog="Example: mutx-infra tailnet apply")
def apply(
    overwrite: Annotated[
        str,
        typer.Option(
            "--overwrite",
            metavar="DIGEST",
            help="Replace this policy, written elsewhere: its digest, as shown.",
        ),
    ] = "",
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
    progress: c.ProgressOption = True,
) -> None:
    """Put the registry's policy in force, and bring the tailnet's settings up to the profile.

    A policy that somebody else wrote is not overwritten: it is named with what would change. Tenants' commands do the
    same by themselves; this one also mends settings.
    """
    out = c.make_output(as_json=as_json, output=output, quiet=quiet, progress=progress)
    applied = _writer(environment).apply(ConsoleReporter(out), overwrite=overwrite)
    if out.format is Format.JSON:
        out.data({"policy_written": applied.wrote_policy, "changes": changes_json(applied.changes)})
        return
    out.say(f"the tailnet is as the registry has it: {applied.summary()}")


@app.command("history", epilog="Example: mutx-infra tailnet history")
def history_(
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """List every change of the tailnet's policy and settings; exits 6 where somebody changed the history."""
    from mutx_infra.tailnet.plan import TAILNET_ID  # noqa: PLC0415 - keeps the other commands quick

    history.list_(TAILNET_ID, environment, output, as_json)


def _writer(environment: str | None) -> TailnetWriter:
    return bootstrap_tailnet.make_tailnet_writer(bootstrap.this_process(), c.current_settings(environment))


def _reader(environment: str | None) -> TailnetReader:
    return bootstrap_tailnet.make_tailnet_reader(bootstrap.this_process(), c.current_settings(environment))


def _access(environment: str | None) -> TailnetAccess:
    return bootstrap_tailnet.make_tailnet_access(c.current_settings(environment))


def _live(file: str | None) -> Policy | None:
    if file is None:
        return None
    try:
        text = sys.stdin.read() if file == _STDIN else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise OutsideError(
            f"{file} cannot be read",
            code="tailnet-policy-unreadable",
            remedy="name a file with a policy in JSON",
            detail=str(exc),
        ) from exc
    return _read(text)


def _read(text: str) -> Policy:
    from mutx_infra.tailnet.policy import read_policy  # noqa: PLC0415

    return read_policy(text)


def _attribute(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(
            f"{text} is no attribute", code="attribute-invalid", remedy="write it as node:os=linux"
        )
    return name, {"true": True, "false": False}.get(value, value)


def _pairs(composed: Composed) -> list[tuple[Grant, Reason]]:
    return list(zip(composed.policy.grants, composed.reasons, strict=True))


def _reached_lines(reached: Reached) -> list[str]:
    question, answer = reached.question, reached.answer
    said = f"{question.source} → {question.destination} {question.protocol}:{question.port}"
    lines = [f"{'yes' if answer.is_open else 'no'}: {said}"]
    if answer.grant is not None:
        lines.append(f"  granted  {_written(answer.grant)}")
        if answer.grant.posture:
            lines.append(f"  posture  {' or '.join(answer.grant.posture)} is met")
    elif not answer.lacking:
        lines.append("  nothing grants it")
    lines += [
        f"  posture  {' or '.join(grant.posture)} is not met; with it: {_written(grant)}"
        for grant in answer.lacking
    ]
    if reached.reason is not None:
        lines.append(f"  reason   {reached.reason.flow.reason} ({reached.reason.whose})")
    lines += [
        f"  test     {'accepts' if is_open else 'denies'} it ({test.place or 'of the registry'})"
        for test, is_open in reached.tests
    ]
    return lines


def _written(grant: Grant) -> str:
    text = f"{', '.join(grant.sources)} → {', '.join(grant.destinations)} {', '.join(grant.ip)}"
    return f"{text} ({grant.place})" if grant.place else text


def _reached_json(reached: Reached) -> dict[str, object]:
    question, answer = reached.question, reached.answer
    return {
        "source": question.source, "destination": question.destination, "protocol": question.protocol,
        "port": question.port, "open": answer.is_open,
        "grant": None if answer.grant is None else _grant_json(answer.grant, reached.reason),
        "lacking_posture": [_grant_json(grant, None) for grant in answer.lacking],
        "tests": [test.document() for test, _ in reached.tests],
    }  # fmt: skip


def _grant_json(grant: Grant, reason: Reason | None) -> dict[str, object]:
    return {
        **grant.document(),
        "tenant": None if reason is None else reason.tenant or None,
        "reason": None if reason is None else reason.flow.reason,
    }


def _settings_rows(settings: ChangeSet) -> list[tuple[str, str, str]]:
    return [(str(each.operation), each.name, ", ".join(each.fields)) for each in settings.changes]


def _finding_rows(findings: Findings) -> list[tuple[str, str, str]]:
    change = findings.change
    rows = [(each.code, each.place, each.said) for each in findings.lints]
    rows += [("test-fails", *said.partition(": ")[::2]) for said in findings.failed_tests]
    rows += [("access-not-asked-for", "", str(access)) for access in change.lost]
    rows += [("access-missing", "", str(access)) for access in change.gained]
    rows += [("member-not-asked-for", group, member) for group, member in change.left]
    rows += [("member-missing", group, member) for group, member in change.joined]
    rows += [("tag-owners-differ", f"tagOwners.{tag}", "") for tag in change.owners]
    rows += [("section-differs", section, "") for section in change.other]
    rows += [(each.code, each.place, each.said) for each in findings.of_devices]
    return rows


def _findings_json(findings: Findings) -> dict[str, object]:
    change = findings.change
    return {
        "clean": findings.is_clean,
        "lints": _lints_json(findings.lints),
        "failed_tests": list(findings.failed_tests),
        "access_not_asked_for": [str(access) for access in change.lost],
        "access_missing": [str(access) for access in change.gained],
        "members_not_asked_for": [list(pair) for pair in change.left],
        "members_missing": [list(pair) for pair in change.joined],
        "tag_owners_differ": list(change.owners),
        "sections_differ": list(change.other),
        "devices_and_keys": _lints_json(findings.of_devices),
    }


def _lints_json(lints: Sequence[Lint]) -> list[dict[str, str]]:
    return [{"code": each.code, "place": each.place, "said": each.said} for each in lints]
