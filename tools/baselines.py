"""Measure hosts against published baselines: Lynis' index, and every profile of OpenSCAP's data stream for Debian 12.

`python tools/baselines.py HOST` measures a machine of this checkout's sandbox, compares it with the table in
`docs/reference/baselines.yml` (every rule that may fail, with its reason), and prints what was seen as JSON. The
scanner is Debian 12's, its content Debian 13's: Debian 12's own is older than Debian 12. Nothing of either is
installed on the host: they are unpacked into a directory there and taken away again.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from mutx_sandbox.machines.rootfs import known_sources, mirror_lines
from mutx_sandbox.machines.tools import which

from mutx_infra.settings import cache_directory

ROOT = Path(__file__).resolve().parent.parent
APT, DPKG_DEB = (which(name) or name for name in ("apt-get", "dpkg-deb"))
MUTX_INFRA = str(Path(sys.executable).parent / "mutx-infra")
TABLE = ROOT / "docs" / "reference" / "baselines.yml"

SCANNER = (
    "openscap-scanner", "openscap-common", "libopenscap25", "liblua5.3-0", "libltdl7", "libopendbx1", "libpcre3",
    "libpopt0", "librpm9", "librpmio9", "libxmlsec1", "libxmlsec1-openssl", "libyaml-0-2",
)  # fmt: skip
"""What the scanner is made of beyond the machines' own packages: 8 MB packed, of Debian 12."""
KERNEL_MARK = "linux-base"
"""By this package the content tells a machine from a container; the sandbox's have their kernel from outside."""
CONTENT, CONTENT_SUITE = "ssg-debian", "trixie"
DATA_STREAM = "ssg-debian12-ds.xml"
PROFILES = (
    "anssi_bp28_minimal", "anssi_bp28_intermediary", "anssi_bp28_enhanced", "anssi_bp28_high", "anssi_np_nt28_minimal",
    "anssi_np_nt28_average", "anssi_np_nt28_restrictive", "anssi_np_nt28_high", "standard",
)  # fmt: skip
PLACE = "/var/lib/mutx-baselines"

_RULE = "xccdf_org.ssgproject.content_rule_"
_UNWANTED = ("usr/share/doc", "usr/share/man", "usr/share/lintian", "usr/share/bash-completion")
_EVALUATE = f"""
export LD_LIBRARY_PATH={PLACE}/usr/lib/x86_64-linux-gnu:{PLACE}/lib/x86_64-linux-gnu:{PLACE}/usr/lib
export OSCAP_SCHEMA_PATH={PLACE}/usr/share/openscap/schemas OSCAP_CPE_PATH={PLACE}/usr/share/openscap/cpe
export OSCAP_XSLT_PATH={PLACE}/usr/share/openscap/xsl
cd {PLACE}
{PLACE}/usr/bin/oscap xccdf eval --skip-valid --progress --profile PROFILE {DATA_STREAM} 2>errors
status=$?
# 2: some rule fails.
[ $status -eq 0 ] || [ $status -eq 2 ] || {{ tail -n 3 errors >&2; exit 1; }}
"""


@dataclass(frozen=True)
class Host:
    """A machine of a checkout's sandbox, by the CLI: it renews the certificate, which lives half an hour."""

    name: str
    checkout: Path = ROOT

    def run(self, script: str, given: bytes = b"", limit_s: float = 3600) -> str:
        """Run a script as root and return what it printed."""
        command = [
            MUTX_INFRA,
            "sandbox",
            "hosts",
            "ssh",
            self.name,
            "--",
            "sudo",
            "bash",
            "-c",
            _quoted(script),
        ]
        done = subprocess.run(
            command, cwd=self.checkout, input=given, capture_output=True, check=False, timeout=limit_s
        )
        if done.returncode != 0:
            raise SystemExit(f"{self.name}: exit status {done.returncode}: {done.stderr.decode()[-600:]}")
        return done.stdout.decode()


@dataclass(frozen=True)
class Seen:
    """What the baselines say of a host.

    Attributes:
        profiles: results by rule, by profile.
        remarks: Lynis' warnings and suggestions, by the id of the test.
        versions: of Lynis, the scanner and its content.
    """

    lynis: int
    remarks: dict[str, list[str]] = field(default_factory=dict)
    profiles: dict[str, dict[str, str]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def failing(self) -> set[str]:
        """Return every rule that fails in some profile."""
        return {rule for rules in self.profiles.values() for rule, said in rules.items() if said == "fail"}

    def rate(self, profile: str) -> str:
        """Return how many of a profile's rules pass of those that apply."""
        said = list(self.profiles[profile].values())
        passed = said.count("pass") + said.count("fixed")
        return f"{passed} of {passed + said.count('fail')}"


@dataclass(frozen=True)
class Borne:
    """A row of the table: what may fail, and why. `rule` may be a pattern.

    Attributes:
        machines: those that it fails on: `kernel` (of their own), `container`, or both.
    """

    rule: str
    reason: str
    machines: str = "both"


def main(arguments: Sequence[str]) -> int:
    """Measure a host and compare it with the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("host", help="a machine of the sandbox, as `mutx-infra sandbox hosts list` names it")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="whose sandbox the machine is in")
    parser.add_argument(
        "--profile", action="append", choices=PROFILES, help="may be repeated; by default all"
    )
    parser.add_argument("--kind", choices=("kernel", "container"), default="kernel")
    options = parser.parse_args(arguments)
    seen = measure(Host(options.host, options.checkout), options.profile or PROFILES)
    objections = compare(seen, options.kind, whole=not options.profile)
    print(json.dumps({**asdict(seen), "objections": objections}, indent=1, sort_keys=True))
    return 1 if objections else 0


def measure(host: Host, profiles: Iterable[str] = PROFILES, *, with_lynis: bool = True) -> Seen:
    """Look at a host by every baseline; what is brought for it is taken away again."""
    content = ensure_content(cache_directory(os.environ))
    index, remarks = lynis(host) if with_lynis else (0, {})
    host.run(f"mkdir -p {PLACE} && tar -C {PLACE} -xf -", content.read_bytes())
    try:
        found = {profile: evaluate(host, profile) for profile in profiles}
        versions = {**_names(content), "lynis": host.run("dpkg-query -W -f '${Version}' lynis").strip()}
    finally:
        host.run(f"rm -rf {PLACE}")
    return Seen(index, remarks, found, versions)


def prepare(host: Host) -> None:
    """Let the content take a host for a machine, as one with Debian's kernel is."""
    package = next(ensure_content(cache_directory(os.environ)).parent.glob(f"{KERNEL_MARK}_*.deb"))
    script = (
        "cat >/root/base.deb && DEBIAN_FRONTEND=noninteractive dpkg -i /root/base.deb && rm /root/base.deb"
    )
    host.run(script, package.read_bytes())


def evaluate(host: Host, profile: str) -> dict[str, str]:
    """Return the result of each rule of a profile."""
    lines = host.run(_EVALUATE.replace("PROFILE", profile)).splitlines()
    pairs = [line.rpartition(":")[::2] for line in lines if line.startswith(_RULE)]
    return {rule.removeprefix(_RULE): said for rule, said in pairs}


def lynis(host: Host) -> tuple[int, dict[str, list[str]]]:
    """Return the index and what Lynis remarks, by test."""
    # It asks for updates, for which a host without a way out waits.
    script = (
        "printf 'skip-test=PKGS-7392\\n' >/run/lynis.prf; "
        "lynis audit system --quick --no-colors --profile /run/lynis.prf >/dev/null 2>&1; "
        "rm /run/lynis.prf; cat /var/log/lynis-report.dat"
    )
    report = host.run(script)
    remarks: dict[str, list[str]] = {}
    for line in report.splitlines():
        if found := re.match(r"(?:warning|suggestion)\[\]=([^|]+)\|([^|]*)\|([^|]*)\|", line):
            remarks.setdefault(found[1], []).append(
                " ".join(part for part in found.groups()[1:] if part != "-")
            )
    index = re.search(r"^hardening_index=(\d+)$", report, re.MULTILINE)
    if index is None:
        raise SystemExit("Lynis wrote no index")
    return int(index[1]), remarks


def compare(
    seen: Seen, kind: str, table: Mapping[str, tuple[Borne, ...]] | None = None, *, whole: bool = True
) -> list[str]:
    """Say which rules fail without a reason in the table, and which rows of it nothing needs any more.

    Args:
        seen: what was seen.
        kind: of the machine, `kernel` or `container`.
        table: what may fail; by default the committed one.
        whole: whether every profile was looked at; only then a row can be found to be needed by nothing.
    """
    table = table or load_table()
    return [
        *_objections("rule", seen.failing(), _of_kind(table["openscap"], kind), whole=whole),
        *_objections("remark", set(seen.remarks), _of_kind(table["lynis"], kind), whole=bool(seen.remarks)),
    ]


def report(before: Seen, after: Seen) -> str:
    """Return the table of the rates, as docs/reference/baselines.md has it."""
    rows = [f"| `{profile}` | {before.rate(profile)} | {after.rate(profile)} |" for profile in after.profiles]
    head = ["| profile | before | after |", "| --- | --- | --- |"]
    return "\n".join([*head, *rows, f"| Lynis, index | {before.lynis} | {after.lynis} |"])


def load_table() -> Mapping[str, tuple[Borne, ...]]:
    """Return the committed table by baseline."""
    read: dict[str, list[dict[str, Any]]] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return {name: tuple(Borne(**row) for row in rows) for name, rows in read.items()}


def ensure_content(cache: Path) -> Path:
    """Return the archive that is unpacked on a host, made of Debian's packages where it is not in the cache yet."""
    digest = hashlib.sha256(repr((SCANNER, KERNEL_MARK, CONTENT, CONTENT_SUITE)).encode()).hexdigest()[:16]
    place = cache / "baselines" / digest
    if not (place / "content.tar").exists():
        place.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=place) as name:
            unpacked = Path(name) / "unpacked"
            for suite, packages in (("bookworm", SCANNER), (CONTENT_SUITE, (CONTENT,))):
                for package in _download(Path(name) / suite, suite, packages):
                    subprocess.run([DPKG_DEB, "-x", str(package), str(unpacked)], check=True)
                    (place / f"{package.name}.used").touch()
            for package in _download(Path(name) / "mark", "bookworm", (KERNEL_MARK,)):
                package.rename(place / package.name)
            stream = next(unpacked.rglob(DATA_STREAM))
            stream = stream.rename(unpacked / DATA_STREAM)
            _pack(unpacked, place / "content.tar")
    return place / "content.tar"


def _pack(tree: Path, archive: Path) -> None:
    """Pack a tree without what nobody runs; it is at its place only when it is whole."""
    unfinished = archive.with_suffix(".part")
    with tarfile.open(unfinished, "w") as tar:
        for path in sorted(tree.rglob("*")):
            name = str(path.relative_to(tree))
            if not name.startswith(_UNWANTED) and "/xml/scap/" not in name:
                tar.add(path, name, recursive=False, filter=_as_root)
    unfinished.rename(archive)


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    return entry


def _download(place: Path, suite: str, packages: Sequence[str]) -> list[Path]:
    """Have apt fetch packages of a suite, with lists of its own: this machine's sources stay what they are."""
    (place / "lists/partial").mkdir(parents=True)
    (place / "cache/archives/partial").mkdir(parents=True)
    (place / "sources.list").write_text(mirror_lines(known_sources(), suite), encoding="utf-8")
    options = [
        f"Dir::State::lists={place}/lists", f"Dir::Cache={place}/cache", f"Dir::Etc::sourcelist={place}/sources.list",
        "Dir::Etc::sourceparts=/dev/null", "APT::Sandbox::User=root", "Acquire::Languages=none",
    ]  # fmt: skip
    given = [word for option in options for word in ("-o", option)]
    # One of a suite's three archives may be missing at a mirror; a package that is not found is told by `download`.
    subprocess.run([APT, "-q", *given, "update"], cwd=place, check=False, capture_output=True)
    done = subprocess.run(
        [APT, "-q", *given, "download", *packages],
        cwd=place,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise SystemExit(f"apt-get download of {suite}: {done.stderr[-600:]}")
    return sorted(place.glob("*.deb"))


def _names(content: Path) -> dict[str, str]:
    """Return the versions of what the archive was made of."""
    names = [path.name.split("_") for path in content.parent.glob("*.used")]
    return {name[0]: name[1] for name in names if name[0] in {"openscap-scanner", CONTENT}}


def _of_kind(rows: Iterable[Borne], kind: str) -> list[Borne]:
    return [row for row in rows if row.machines in {"both", kind}]


def _objections(what: str, failing: set[str], rows: Sequence[Borne], *, whole: bool) -> Iterator[str]:
    for name in sorted(failing):
        if not any(fnmatch.fnmatch(name, row.rule) for row in rows):
            yield f"{what} {name} is neither met nor listed in {TABLE.name}"
    for row in rows if whole else ():
        if not any(fnmatch.fnmatch(name, row.rule) for name in failing):
            yield f"{what} {row.rule} is listed in {TABLE.name}, and nothing fails by it"


def _quoted(script: str) -> str:
    """Quote a script for the shell at the other end of SSH."""
    return "'" + script.replace("'", "'\\''") + "'"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
