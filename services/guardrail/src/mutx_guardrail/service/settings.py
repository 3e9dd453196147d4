"""The service's settings, from its unit's environment; with none set it serves plain HTTP on loopback.

docs/reference/guardrail.md has the table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from mutx_service.settings import Environment, TlsFiles, is_loopback
from pydantic import SecretStr

from mutx_guardrail.anomaly.shared import RedisSettings
from mutx_guardrail.judge.settings import FamilyName, JudgeSettings
from mutx_guardrail.judge.settings import TlsFiles as JudgeTlsFiles
from mutx_guardrail.parts import Models

PREFIX = "MUTX_GUARDRAIL_"
REDIS_VARIABLE = f"{PREFIX}REDIS_CERTIFICATE"
VARIABLES = {
    "HOST": "address to listen on; 127.0.0.1. Another one needs mTLS",
    "PORT": "8443; 0 takes a free one and tells it in the event `listening`",
    "TLS_CERTIFICATE": "PEM file with the server's certificate (and key); with the next two: mTLS, TLS 1.3",
    "TLS_KEY": "PEM file with its key",
    "TLS_CLIENT_CA": "the one CA that callers' certificates must come from",
    "CALLERS": "names (DNS or URI) in the certificates of those who may ask for every agent: the control plane's",
    "AGENTS": "`NAME=CERTIFICATE-NAME[@https://HOST:8080]` for each agent; such a caller may ask for itself alone",
    "AGENT_CERTIFICATE": "PEM file with the certificate that is shown to agents",
    "AGENT_KEY": "PEM file with its key",
    "AGENT_CA": "the CA that agents' certificates must come from",
    "POLICY": "policy file, looked at every second; none for the built-in policy",
    "MODELS": "folder of classifiers instead of the built-in ones",
    "INJECTION_MODEL": "folder of a sequence classifier for prompt injection, as Llama Prompt Guard's ONNX form",
    "TOXICITY_MODEL": "the same for toxic content",
    "STATE": "directory for reviews and agents' state, else systemd's `StateDirectory=`; none keeps no reviews",
    "REDIS_URL": "state that replicas share: `rediss://USER@HOST:6379`, or here `redis://`; none: a file in `STATE`",
    "REDIS_CERTIFICATE": "PEM file with the certificate that is shown to Redis; with the next two: mTLS, TLS 1.3",
    "REDIS_KEY": "PEM file with its key",
    "REDIS_CA": "the one CA that Redis's certificate must come from",
    "REDIS_PASSWORD_FILE": "file with the user's password; read for each connection",
    "MASK_KEY_FILE": "the tenant's key of masks: 32 or 64 random bytes, plain, base64 or hexadecimal; may come later",
    "JUDGE_URL": "up to and with the version, as `http://127.0.0.1:8000/v1`",
    "JUDGE_MODEL": "as the server names it",
    "JUDGE_FAMILY": "`qwen3guard`, `granite-guardian`, `llama-guard` or `instruct`",
    "JUDGE_API_KEY_FILE": "file that holds the key which the judge's server demands; read at the start",
    "JUDGE_SOCKET": "unix socket of the judge",
    "JUDGE_CERTIFICATE": "PEM file with the certificate that is shown to a judge behind https",
    "JUDGE_KEY": "PEM file with its key",
    "JUDGE_CA": "the CA of the judge's certificate",
    "JUDGE_TIMEOUT_MS": "for one text; 10000",
    "MAX_BODY_BYTES": "of a request; 1048576",
    "MAX_TEXTS": "judged at once; one more is refused with `guard-busy`; 64",
    "MAX_RUNS": "runs of agents at once; one more is refused with `guard-busy`; 64",
    "LAYER_TIMEOUT_MS": "for each layer but the judge and each text; 10000",
    "RUN_TIMEOUT_MS": "for a run of an agent; 120000",
    "STOP_LIMIT_S": "that running requests have after SIGTERM; 20",
}
_API_KEY = re.compile(r"[\x21-\x7e]{1,512}")
"""What goes into a header as it is."""
_OTHERS = f"{PREFIX}EGRESS_"
"""The egress's own, which reads these as well."""


@dataclass(frozen=True, slots=True)
class AgentAddress:
    """An agent: the name in its certificate, and where it serves (empty where the guard does not forward to it)."""

    certificate: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """What one guardrail process is told.

    Attributes:
        callers: names in the certificates of those who may ask for every agent: the control plane's.
        agents: by name; such a caller may ask for itself alone.
        texts: how many texts are judged at once; one more is refused.
        runs: how many runs of agents go through at once; one more is refused.
        layer_s: seconds that each layer has for a text.
        run_s: seconds that an agent has for a run.
    """

    host: str = "127.0.0.1"
    port: int = 8443
    tls: TlsFiles | None = None
    callers: frozenset[str] = frozenset()
    agents: Mapping[str, AgentAddress] = field(default_factory=dict)
    agent_tls: TlsFiles | None = None
    policy: Path | None = None
    models: Models = field(default_factory=Models)
    state: Path | None = None
    redis: RedisSettings | None = None
    mask_key: Path | None = None
    judge: JudgeSettings | None = None
    body_bytes: int = 1 << 20
    texts: int = 64
    runs: int = 64
    layer_s: float = 10.0
    run_s: float = 120.0
    stop_s: int = 20


def read_settings(variables: Mapping[str, str]) -> Settings:
    """Return the settings of an environment.

    Raises:
        SettingsError: the first variable that is wrong.
    """
    environment = Environment(
        {name: value for name, value in variables.items() if not name.startswith(_OTHERS)}, PREFIX
    )
    environment.refuse_unknown({PREFIX + name for name in VARIABLES})
    tls = environment.tls("TLS_CERTIFICATE", "TLS_KEY", "TLS_CLIENT_CA")
    agents = _read_agents(environment)
    agent_tls = environment.tls("AGENT_CERTIFICATE", "AGENT_KEY", "AGENT_CA")
    if agent_tls is None and any(each.url.startswith("https://") for each in agents.values()):
        raise environment.error(
            "AGENT_CERTIFICATE", "is not set, and AGENTS has https://", "set it, _KEY and _CA"
        )
    state = environment.text("STATE") or variables.get("STATE_DIRECTORY", "")
    return Settings(
        host=environment.host("HOST", needs_loopback=tls is None),
        port=environment.number("PORT", 8443, lowest=0, highest=65_535),
        tls=tls,
        callers=environment.callers("CALLERS", is_served_by_tls=tls is not None),
        agents=agents,
        agent_tls=agent_tls,
        policy=environment.file("POLICY"),
        models=Models(
            folder=_read_folder(environment, "MODELS"),
            injection=_read_folder(environment, "INJECTION_MODEL"),
            toxicity=_read_folder(environment, "TOXICITY_MODEL"),
        ),
        state=environment.state() if state else None,
        redis=_read_redis(environment),
        mask_key=Path(mask_key) if (mask_key := environment.text("MASK_KEY_FILE")) else None,
        judge=_read_judge(environment),
        body_bytes=environment.number("MAX_BODY_BYTES", 1 << 20, lowest=1_024, highest=1 << 28),
        texts=environment.number("MAX_TEXTS", 64),
        runs=environment.number("MAX_RUNS", 64),
        layer_s=environment.number("LAYER_TIMEOUT_MS", 10_000, lowest=10, highest=600_000) / 1_000,
        run_s=environment.number("RUN_TIMEOUT_MS", 120_000, lowest=100, highest=3_600_000) / 1_000,
        stop_s=environment.number("STOP_LIMIT_S", 20, highest=600),
    )


def _read_agents(environment: Environment) -> dict[str, AgentAddress]:
    """Read `name=certificate-name[@https://host:8080]`, one word for each agent."""
    found = {}
    for word in sorted(environment.words("AGENTS")):
        name, equals, rest = word.partition("=")
        certificate, _, url = rest.partition("@")
        if not equals or not name or not certificate:
            raise environment.error(
                "AGENTS", f"has {word[:60]!r}", "write NAME=CERTIFICATE-NAME[@https://HOST:PORT]"
            )
        if url and not url.startswith(("https://", "http://127.0.0.1:", "http://[::1]:")):
            raise environment.error("AGENTS", f"sends {name} plain HTTP off loopback", "use https://")
        found[name] = AgentAddress(certificate, url)
    return found


def _read_folder(environment: Environment, name: str) -> Path | None:
    value = environment.text(name)
    if value and not Path(value).is_dir():
        raise environment.error(
            name, "names no folder", "check the path, and that the unit's user can see it"
        )
    return Path(value) if value else None


def _read_redis(environment: Environment) -> RedisSettings | None:
    url, tls = environment.text("REDIS_URL"), environment.tls("REDIS_CERTIFICATE", "REDIS_KEY", "REDIS_CA")
    password_file = environment.file("REDIS_PASSWORD_FILE")
    if not url:
        if tls or password_file:
            raise environment.error("REDIS_URL", "is not set", "set it, or none of REDIS_*")
        return None
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise environment.error("REDIS_URL", "is no URL of a Redis", "write rediss://USER@HOST:6379")
    if parts.scheme == "redis" and not is_loopback(parts.hostname or ""):
        raise environment.error("REDIS_URL", "is without TLS off loopback", "use rediss://")
    if tls and parts.scheme != "rediss":
        raise environment.error("REDIS_URL", "is without TLS, and REDIS_CERTIFICATE is set", "use rediss://")
    if parts.password and password_file:
        raise environment.error("REDIS_URL", "holds a password beside the file's", "leave it to the file")
    return RedisSettings(SecretStr(url), tls, password_file)


def _read_judge(environment: Environment) -> JudgeSettings | None:
    url = environment.text("JUDGE_URL")
    if not url:
        return None
    tls = environment.tls("JUDGE_CERTIFICATE", "JUDGE_KEY", "JUDGE_CA")
    socket = environment.text("JUDGE_SOCKET")
    try:
        return JudgeSettings(
            url=url,
            model=environment.required("JUDGE_MODEL"),
            family=FamilyName(environment.choice("JUDGE_FAMILY", [each.value for each in FamilyName])),
            socket=Path(socket) if socket else None,
            tls=JudgeTlsFiles(ca=tls.ca, certificate=tls.certificate, key=tls.key) if tls else None,
            api_key=_read_api_key(environment),
            timeout_s=environment.number("JUDGE_TIMEOUT_MS", 10_000, lowest=10, highest=600_000) / 1_000,
        )
    except ValueError as error:
        raise environment.error(
            "JUDGE_URL", f"cannot be used: {error}", "see the table of the settings"
        ) from None


def _read_api_key(environment: Environment) -> SecretStr | None:
    """Return what the file holds, without the line's end; a key file that holds no key is an error."""
    path = environment.file("JUDGE_API_KEY_FILE")
    if path is None:
        return None
    try:
        key = path.read_text("ascii", errors="replace").strip()
    except OSError as error:
        raise environment.error(
            "JUDGE_API_KEY_FILE", f"cannot be read: {error.strerror}", "let the unit's user read it"
        ) from None
    if not _API_KEY.fullmatch(key):
        raise environment.error(
            "JUDGE_API_KEY_FILE", "holds no key", "write one line of visible ASCII, up to 512"
        )
    return SecretStr(key)
