"""`mutx-infra sandbox hosts …`: real machines, on this one."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli.output import Format, Output

from mutx_infra import bootstrap
from mutx_infra.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from mutx_sandbox.machines.hosts import SandboxHosts, UpHost
    from mutx_sandbox.machines.instances import TrialHosts
    from mutx_sandbox.machines.machine import MachineState

    from mutx_infra.access import HostTarget
    from mutx_infra.bootstrap import HostPorts

app = typer.Typer(no_args_is_help=True, help="Real machines of the sandbox, with SSH (as root).")

BackendOption = Annotated[
    str,
    typer.Option(
        "--backend",
        metavar="nspawn|uml|qemu|own-kernel",
        help="Containers, User-Mode Linux, virtual machines, or the quicker of the last two.",
    ),
]
TenantOption = Annotated[
    str | None,
    typer.Option(
        "--tenant", metavar="TENANT", help="The hosts of this tenant.", autocompletion=c.tenant_names
    ),
]
_OWN_KERNEL = "own-kernel"
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The host's name, as `list` shows it.")]


@app.command(epilog="Example: mutx-infra sandbox hosts up 3")
def up(
    number: Annotated[int | None, typer.Argument(metavar="[NUMBER]", help="So many trial hosts.")] = None,
    tenant: TenantOption = None,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="HOST", help="One of the tenant's hosts; may be repeated."),
    ] = None,
    backend: BackendOption = "nspawn",
    release: Annotated[
        str, typer.Option("--release", metavar="bookworm|trixie", help="Debian 12 or 13.")
    ] = "bookworm",
    memory: Annotated[
        int, typer.Option("--memory", help="MiB of each machine that has a kernel of its own.")
    ] = 512,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
) -> None:
    """Have machines: trial hosts of no tenant, or the hosts that a tenant's stack made."""
    if (number is None) == (tenant is None):
        raise UsageError(
            "say how many trial hosts, or whose hosts",
            code="hosts-which",
            remedy="`mutx-infra sandbox hosts up 3`, or `… up --tenant acme`",
        )
    out = c.make_output(as_json=as_json, output=output, quiet=quiet)
    begun = time.monotonic()
    kind = _backend(backend)
    hosts = _hosts(out.say)
    image = hosts.prepare(kind, release)
    hosts.start(image.layers)
    ports = _ports(hosts)
    if number is not None:
        came = hosts.up_trial(number, _trial(hosts), ports, image, memory)
    else:
        record = c.onboarding_for(str(hosts.sandbox.environment_file)).require(str(tenant))
        came = hosts.up_tenant(record, host or (), ports, image, memory)
    seconds = time.monotonic() - begun
    config = ports.ssh.files(came[0].target.tenant).config
    if out.format is Format.JSON:
        out.data(
            {"seconds": round(seconds, 2), "ssh_config": str(config), "hosts": [_up_json(h) for h in came]}
        )
        return
    out.table(("host", "role", "address", "by", "backend"), [_up_row(h) for h in came])
    new = sum(h.is_new for h in came)
    out.say(f"{new} started, {len(came) - new} were up; {seconds:.1f} s")
    out.say(
        f"log in: mutx-infra sandbox hosts ssh {came[0].target.name}, or ssh -F '{config}' {came[0].target.name}"
    )


@app.command("list", epilog="Example: mutx-infra sandbox hosts list --json")
def list_hosts(output: c.OutputOption = Format.TABLE, as_json: c.JsonOption = False) -> None:
    """Show the machines and how they are doing."""
    out = c.make_output(as_json=as_json, output=output)
    states = _hosts(out.say).states()
    if out.format is Format.JSON:
        out.data({"hosts": [state.model_dump(mode="json") for state in states]})
        return
    out.table(
        ("host", "address", "backend", "state", "starts", "MiB", "remark"), [_state_row(s) for s in states]
    )


@app.command(
    epilog="Example: mutx-infra sandbox hosts ssh trial-1 -- uptime",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def ssh(context: typer.Context, name: NameArgument, as_json: c.JsonOption = False) -> None:
    """Log in as the converge account, or run a command there; with `--json`, print SSH's command instead."""
    hosts = _hosts(lambda _: None)
    _require_machine(hosts, name)
    ssh_files = _ports(hosts).ssh
    tenant = _tenant_of(hosts, name)
    ssh_files.ensure_certificate(tenant)
    options = ["-o", "BatchMode=yes"] if context.args else ["-t"]
    command = ["ssh", "-F", str(ssh_files.files(tenant).config), *options, name, *context.args]
    if as_json:
        c.make_output(as_json=True).data({"command": command})
        return
    os.execvp("ssh", command)  # noqa: S606, S607 - the command replaces this process, found by PATH


@app.command(epilog="Example: mutx-infra sandbox hosts reboot trial-1")
def reboot(
    name: NameArgument,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
) -> None:
    """Have a machine shut down in order and start again; one without power starts."""
    hosts = _hosts(lambda _: None)
    _require_machine(hosts, name)
    hosts.machines.reboot(name)
    _tell(name, "rebooting", c.make_output(as_json=as_json, output=output, quiet=quiet))


@app.command(epilog="Example: mutx-infra sandbox hosts kill trial-1")
def kill(
    name: NameArgument,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
) -> None:
    """Take a machine's power away; its disk stays, and `up` or `reboot` starts it again."""
    hosts = _hosts(lambda _: None)
    _require_machine(hosts, name)
    hosts.machines.cut(name)
    _tell(name, "stopped", c.make_output(as_json=as_json, output=output, quiet=quiet))


@app.command(epilog="Example: mutx-infra sandbox hosts down")
def down(
    name: Annotated[list[str] | None, typer.Argument(metavar="[NAME]", help="Only these.")] = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
) -> None:
    """End machines and forget their disks: those named, else all."""
    out = c.make_output(as_json=as_json, output=output, quiet=quiet)
    hosts = _hosts(out.say)
    ended = _end(hosts, tuple(name or ()))
    if out.format is Format.JSON:
        out.data({"ended": sorted(ended)})
        return
    out.say(f"ended: {', '.join(sorted(ended))}" if ended else "there were no machines")


def _tell(name: str, state: str, out: Output) -> None:
    if out.format is Format.JSON:
        out.data({"name": name, "state": state})
        return
    out.say(f"{name}: {state}")


def _end(hosts: SandboxHosts, names: tuple[str, ...]) -> tuple[str, ...]:
    """End machines, and have the toolkit forget them, so that those that come in their place join anew."""
    for name in names:
        _require_machine(hosts, name)
    ended = names or hosts.machines.names()
    if names:
        hosts.down_some(names)
    else:
        hosts.machines.remove()
    record = hosts.sandbox.record()
    if ended and record is not None and record.is_up:
        _forget(hosts, frozenset(ended))
    return ended


def _forget(hosts: SandboxHosts, names: frozenset[str]) -> None:
    ports, trial = _ports(hosts), _trial(hosts)
    chosen = [target for target in trial.all() if target.name in names]
    others = names - {target.name for target in chosen}
    ports.joining.forget([*chosen, *_tenant_targets(hosts, others)])
    trial.terminate(chosen)


def _tenant_targets(hosts: SandboxHosts, names: frozenset[str]) -> list[HostTarget]:
    from mutx_sandbox.machines.instances import tenant_machines  # noqa: PLC0415

    if not names:
        return []
    records = c.onboarding_for(str(hosts.sandbox.environment_file)).tenants()
    found = [t for r in records if "hosts" in r.outputs for t in tenant_machines(r, _backend("nspawn"), 0)[0]]
    return [target for target in found if target.name in names]


def _tenant_of(hosts: SandboxHosts, name: str) -> str:
    """Return the tenant in whose `ssh_config` a machine is."""
    home = _ports(hosts).ssh.home
    for config in sorted(home.glob("*/ssh_config")):
        if f"Host {name}\n" in config.read_text(encoding="utf-8"):
            return config.parent.name
    raise RefusedError(
        f"{name} has not joined", code="host-not-joined", remedy="run `sandbox hosts up` again"
    )


def _require_machine(hosts: SandboxHosts, name: str) -> None:
    names = [state.machine.name for state in hosts.states()]
    if name not in names:
        raise RefusedError(
            f"there is no machine {name}",
            code="machine-unknown",
            remedy=f"there are {', '.join(names)}"
            if names
            else "`mutx-infra sandbox hosts up 3` makes three",
        )


def _hosts(say: object) -> SandboxHosts:
    from mutx_sandbox.daemon import Sandbox  # noqa: PLC0415 - keeps `--help` quick
    from mutx_sandbox.machines.hosts import SandboxHosts  # noqa: PLC0415

    settings = bootstrap.settings_of(bootstrap.this_process())
    return SandboxHosts(Sandbox(settings.state), settings.cache, say)  # type: ignore[arg-type]


def _ports(hosts: SandboxHosts) -> HostPorts:
    """Return what the sandbox's own profile says, whichever profile is current."""
    process = bootstrap.this_process()
    return bootstrap.make_host_ports(bootstrap.settings_of(process, str(hosts.sandbox.environment_file)))


def _trial(hosts: SandboxHosts) -> TrialHosts:
    from mutx_sandbox.machines.instances import TrialHosts  # noqa: PLC0415

    from mutx_infra.adapters.aws_session import AwsSession  # noqa: PLC0415

    return TrialHosts(AwsSession(bootstrap.load_environment(hosts.sandbox.environment_file).aws))


def _backend(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from mutx_sandbox.machines.machine import BackendName  # noqa: PLC0415

    if name == _OWN_KERNEL:
        return None
    try:
        return BackendName(name)
    except ValueError as exc:
        raise UsageError(
            f"there is no backend {name}",
            code="backend-unknown",
            remedy=f"choose one of {', '.join([*BackendName, _OWN_KERNEL])}",
        ) from exc


def _up_row(host: UpHost) -> tuple[str, ...]:
    target = host.target
    way = f"{target.tenant}-{target.jump}" if target.jump else "tailnet"
    return (target.name, target.role, str(target.private_ip), way, host.machine.backend)


def _up_json(host: UpHost) -> dict[str, object]:
    target = host.target
    return {
        "name": target.name, "role": target.role, "private_ip": str(target.private_ip), "jump": target.jump,
        "private_ip6": str(host.machine.wire.address6), "backend": host.machine.backend, "new": host.is_new,
        "vpc": host.machine.wire.vpc, "subnet": str(host.machine.wire.subnet),
    }  # fmt: skip


def _state_row(state: MachineState) -> tuple[str, ...]:
    machine = state.machine
    return (machine.name, str(machine.wire.address), machine.backend, state.state, str(state.boots),
            f"{state.memory_mib:.0f}", state.remark)  # fmt: skip
