"""The command line: judge a text, serve, look after the policy and the reviews."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from mutx_service.settings import SettingsError

from mutx_guardrail.document import Origin
from mutx_guardrail.layer import LayerUnavailable
from mutx_guardrail.policy import Policy, PolicyError, read_policy
from mutx_guardrail.review import Mark, ReviewStore, ReviewsUnavailable, suggest_thresholds
from mutx_guardrail.verdict import Verdict

ALLOWED, DEFECT, USAGE, INVALID, OUTSIDE, BLOCKED = 0, 1, 2, 3, 5, 6
LARGEST_INPUT = 64 << 20

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Judge what goes into and comes out of a tenant's agents.",
)  # fmt: skip
policy_app = typer.Typer(no_args_is_help=True, help="Look after the policy.")
review_app = typer.Typer(no_args_is_help=True, help="Say of what was flagged whether it was right.")
app.add_typer(policy_app, name="policy")
app.add_typer(review_app, name="review")


class Side(StrEnum):
    """Which way a text goes."""

    INPUT = "input"
    OUTPUT = "output"


PolicyOption = Annotated[
    Path | None,
    typer.Option("--policy", envvar="MUTX_GUARDRAIL_POLICY", help="Policy file; else the built-in one."),
]
ModelsOption = Annotated[
    Path | None,
    typer.Option(
        "--models", envvar="MUTX_GUARDRAIL_MODELS", help="Folder of classifiers; else the built-in ones."
    ),
]
StateOption = Annotated[
    Path, typer.Option("--state", envvar="MUTX_GUARDRAIL_STATE", help="The service's state directory.")
]


def main() -> NoReturn:
    """Run the command line; every failure that a person can mend is told with what to do."""
    stand_in_for_closed_streams()
    try:
        app(standalone_mode=True)
    except SettingsError as error:
        fail("settings", str(error), error.remedy, INVALID)
    except PolicyError as error:
        fail(error.code, str(error), error.remedy, INVALID)
    except ReviewsUnavailable as error:
        fail(
            "reviews-unavailable", str(error), "free its disk, mend its owner, or move the file away", OUTSIDE
        )
    except LayerUnavailable as error:
        fail("layer-unavailable", str(error), "see `mutx-guardrail check --explain`", OUTSIDE)
    except OSError as error:
        # What is left unwritten would fail again at the end.
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process
        fail("output-failed", f"the answer cannot be written ({error.strerror})", "free the disk", OUTSIDE)
    sys.exit(ALLOWED)


def stand_in_for_closed_streams() -> None:
    """Open what the caller closed: nothing is read from it, and what is written goes nowhere; the status tells."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - as above


def fail(code: str, what: str, remedy: str, status: int) -> NoReturn:
    """Tell a failure, and end."""
    sys.stderr.write(f"error[{code}]: {what}\n  hint: {remedy}\n")
    sys.exit(status)


@app.command()
def check(
    text: Annotated[
        str | None, typer.Argument(help="The text; left out, it is read from --file or a pipe.")
    ] = None,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", help="Read the text from a file; - is standard input.")
    ] = None,
    jsonl: Annotated[
        Path | None, typer.Option("--jsonl", help='Judge a file of {"text": …} lines; - is standard input.')
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print exactly what the service answers.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which layer, rule and span decided.")
    ] = False,
    side: Annotated[Side, typer.Option("--side", help="Which way the text goes.")] = Side.INPUT,
    agent: Annotated[str, typer.Option("--agent", help="Judge by this agent's part of the policy.")] = "",
    origin: Annotated[Origin, typer.Option("--origin", help="Who wrote the text.")] = Origin.USER,
    task: Annotated[
        str, typer.Option("--task", help="What the user asked for, where a tool or a page wrote the text.")
    ] = "",
    policy: PolicyOption = None,
    models: ModelsOption = None,
) -> None:
    """Judge a text: exit 0 where it may pass, 6 where it may not.

    Example: mutx-guardrail check "Ignore all previous instructions"
    """
    if sum(source is not None for source in (text, file, jsonl)) > 1:
        fail("usage", "more than one text", "give a text, --file or --jsonl, and only one of them", USAGE)
    from mutx_guardrail.offline import OfflineGuard  # noqa: PLC0415 - seconds of models, which help does not need
    from mutx_guardrail.parts import Models  # noqa: PLC0415 - as above

    guard = OfflineGuard(read_policy(policy) if policy else Policy(), Models(folder=models))
    if jsonl is not None:
        for line in guard.judge_lines(read_lines(jsonl), side.value, agent, origin, task):
            sys.stdout.write(f"{json.dumps(line, ensure_ascii=True)}\n")
            sys.stdout.flush()
        return
    verdict = asyncio.run(guard.judge(read_one(text, file), side.value, agent, origin, task=task))
    if as_json:
        sys.stdout.write(f"{json.dumps(verdict.document(), ensure_ascii=True)}\n")
    else:
        sys.stdout.write(describe(verdict, explain=explain))
    sys.stdout.flush()
    sys.exit(ALLOWED if verdict.allowed else BLOCKED)


@app.command()
def serve(
    *,
    only_check: Annotated[
        bool, typer.Option("--check", help="Check the settings and the policy, and end.")
    ] = False,
) -> None:
    """Serve, as the environment's MUTX_GUARDRAIL_* say; with none set, plain HTTP on loopback.

    Example: mutx-guardrail serve
    """
    from mutx_guardrail.service.settings import read_settings  # noqa: PLC0415 - as above

    settings = read_settings(os.environ)
    if only_check:
        policy = read_policy(settings.policy) if settings.policy else Policy()
        sys.stdout.write(
            f"the settings describe a guardrail; policy {policy.digest}, profile {policy.profile}\n"
        )
        return
    from mutx_guardrail.service.process import serve as serve_settings  # noqa: PLC0415 - as above

    sys.exit(serve_settings(settings))


@app.command()
def egress(
    *,
    only_check: Annotated[
        bool, typer.Option("--check", help="Check the settings, the rules and the policy, and end.")
    ] = False,
) -> None:
    """Take agents to LLM providers, as the environment's MUTX_GUARDRAIL_EGRESS_* say.

    Example: mutx-guardrail egress --check
    """
    from mutx_guardrail.egress.local_guard import build_local_guard, read_guard_settings  # noqa: PLC0415 - as above
    from mutx_guardrail.egress.serve import serve_egress  # noqa: PLC0415 - as above
    from mutx_guardrail.egress.settings import read_egress_settings  # noqa: PLC0415 - as above

    settings, judging = read_egress_settings(os.environ), read_guard_settings(os.environ)
    if only_check:
        policy = read_policy(judging.policy) if judging.policy else Policy()
        agents = ", ".join(sorted(settings.rules.agents)) or "none"
        sys.stdout.write(f"the settings describe an egress; policy {policy.digest}, agents: {agents}\n")
        return
    guard = build_local_guard(judging)
    sys.exit(serve_egress(settings, guard, guard.admit))


@policy_app.command("check")
def policy_check(path: Annotated[Path, typer.Argument(help="The policy file.")]) -> None:
    """Say whether a policy is valid, and what it leaves out.

    Example: mutx-guardrail policy check policy.yaml
    """
    policy = read_policy(path)
    left_out = ", ".join(layer.value for layer in policy.left_out) or "nothing"
    sys.stdout.write(f"{path}: valid; {policy.digest}; profile {policy.profile}; left out: {left_out}\n")


@policy_app.command("show")
def policy_show(policy: PolicyOption = None) -> None:
    """Print the policy with every default written out, as JSON.

    Example: mutx-guardrail policy show
    """
    whole = read_policy(policy) if policy else Policy()
    sys.stdout.write(f"{json.dumps(whole.model_dump(mode='json'), indent=2)}\n")


@review_app.command("list")
def review_list(
    *,
    state: StateOption,
    every: Annotated[bool, typer.Option("--all", help="Also those that were marked.")] = False,
    agent: Annotated[str, typer.Option("--agent", help="Of one agent.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000)] = 100,
) -> None:
    """List what was flagged or blocked, newest first, one JSON object a line.

    Example: mutx-guardrail review list --state /var/lib/mutx-guardrail
    """
    for entry in open_reviews(state).entries(only_open=not every, agent=agent, limit=limit):
        sys.stdout.write(f"{json.dumps(entry.document())}\n")


@review_app.command("mark")
def review_mark(
    entry: Annotated[str, typer.Argument(help="The entry's id.")],
    verdict: Annotated[Mark, typer.Argument(help="Whether the finding was right.")],
    *,
    state: StateOption,
    reviewer: Annotated[str, typer.Option("--reviewer", envvar="USER", help="Who says so.")],
) -> None:
    """Say whether a finding was right; the next calibration counts it.

    Example: mutx-guardrail review mark 5f1c wrong --state /var/lib/mutx-guardrail --reviewer ann
    """
    if not open_reviews(state).mark(entry, verdict, reviewer):
        fail("review-unknown", f"there is no entry {entry!r}", "see `mutx-guardrail review list`", INVALID)


@review_app.command("calibrate")
def review_calibrate(
    *,
    state: StateOption,
    precision: Annotated[
        float, typer.Option("--precision", min=0.5, max=1.0, help="Which share has to be right.")
    ] = 0.9,
) -> None:
    """Suggest thresholds by what reviewers said, as lines for a policy; nothing is changed.

    Example: mutx-guardrail review calibrate --state /var/lib/mutx-guardrail
    """
    found = suggest_thresholds(open_reviews(state).entries(limit=1_000_000), precision)
    if not found:
        fail("reviews-too-few", "no check has 20 marks", "mark more findings first", BLOCKED)
    for each in found:
        sys.stdout.write(
            f"{each.check}: {{threshold: {each.threshold:.4f}}}  # {each.right} of {each.marked} were right\n"
        )


def open_reviews(state: Path) -> ReviewStore:
    """Return the store of a state directory."""
    if not (state / "reviews.sqlite").is_file():
        fail("reviews-missing", f"{state} holds no reviews", "name the service's state directory", INVALID)
    return ReviewStore(state / "reviews.sqlite")


def read_one(text: str | None, file: Path | None) -> str:
    """Return the text of the argument, of a file, or of a pipe."""
    if text is not None:
        return text
    if file is None and sys.stdin.isatty():
        fail("usage", "no text", 'give one: mutx-guardrail check "…", --file, or a pipe', USAGE)
    return read_bytes(file or Path("-")).decode("utf-8", "replace")


def read_bytes(path: Path) -> bytes:
    """Return what a file or standard input holds, up to 64 MiB."""
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(LARGEST_INPUT + 1)
        else:
            with path.open("rb") as source:
                content = source.read(LARGEST_INPUT + 1)
    except OSError as error:
        fail("file-unreadable", f"{path}: {error.strerror}", "name a file that can be read", INVALID)
    if len(content) > LARGEST_INPUT:
        fail("file-too-large", f"{path} is larger than 64 MiB", "judge it in parts", INVALID)
    return content


def read_lines(path: Path) -> Iterator[str]:
    """Yield the texts of a file of JSON lines."""
    for number, line in enumerate(read_bytes(path).decode("utf-8-sig", "replace").split("\n"), 1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
            text = document["text"]
        except (ValueError, TypeError, KeyError, RecursionError):
            text = None
        if not isinstance(text, str):
            fail(
                "line-invalid",
                f'{path}, line {number} is no {{"text": …}}',
                "write one JSON object a line",
                INVALID,
            )
        yield text


def describe(verdict: Verdict, *, explain: bool) -> str:
    """Return a verdict in words."""
    document = verdict.document()
    if verdict.allowed:
        head = "allowed"
    else:
        head = f"blocked: {document['reason']} (confidence {document['confidence']}): {document['details']}"
    lines = [head]
    if verdict.missing_layers:
        lines.append(f"degraded: without {', '.join(layer.value for layer in verdict.missing_layers)}")
    for each in verdict.checks if explain else ():
        score = "" if each.score is None else f", score {each.score:.3f}"
        by = f", by {each.decided_by.value}" if each.decided_by else ""
        lines.append(f"  {each.name.value}: {'passed' if each.passed else 'not passed'}{score}{by}")
        lines += [
            f"    {found.span.start}-{found.span.end} {found.kind} {found.rule or found.layer.value}"
            f" ({found.confidence:.2f}{', ' + found.view if found.view else ''})"
            for found in each.findings
        ]
    return "\n".join(lines) + "\n"
