"""Who may go where, as data: one YAML file, read whole at the start.

An agent that may open a tunnel to a provider speaks to it unjudged, behind TLS that nobody opens: such an agent has its
texts judged by asking for it. An agent that may not has only the judged way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import yaml
from mutx_service.settings import SettingsError, is_loopback
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

LARGEST_FILE_BYTES = 1 << 20

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z)({_LABEL}\.)+[a-z]([a-z0-9-]{{0,61}}[a-z0-9])?")
"""A name of DNS, in lower case, without a closing dot; an address in numbers is none."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _host_pattern(value: str) -> str:
    if not HOST_NAME.fullmatch(value.removeprefix("*.")):
        raise ValueError("is no host name in lower case, and no *.NAME")
    return value


def _base_url(value: str) -> str:
    found = re.fullmatch(r"(https?)://([a-z0-9.-]+)(:\d{1,5})?(/[A-Za-z0-9._/-]*)?", value)
    if found is None:
        raise ValueError("is no https URL without user, query and fragment")
    if found[1] == "http" and not is_loopback(found[2]):
        raise ValueError("is plain http off loopback")
    return value.rstrip("/")


HostPattern = Annotated[str, AfterValidator(_host_pattern)]
AgentName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
ProviderName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


class Provider(_Model):
    """Where a provider is, and which wire form it speaks. `base_url` is what its client would be given."""

    dialect: Literal["openai", "anthropic"]
    base_url: Annotated[str, AfterValidator(_base_url)]
    ca: Path | None = None


class Agent(_Model):
    """What one agent may.

    Attributes:
        names: of its client certificate (DNS or URI); one of them has to be there.
        tunnels: host names to which it may open a tunnel, exact or `*.suffix`.
        providers: those that it may call by the judged way.
        unjudged: kinds of content, tools and fields that pass although nobody can judge them, e.g. `image_url`.
    """

    names: Annotated[tuple[str, ...], Field(min_length=1)]
    tunnels: tuple[HostPattern, ...] = ()
    providers: tuple[ProviderName, ...] = ()
    unjudged: frozenset[str] = frozenset()


class Rules(_Model):
    """The whole file."""

    version: Literal[1] = 1
    providers: Mapping[ProviderName, Provider] = {
        "openai": Provider(dialect="openai", base_url="https://api.openai.com/v1"),
        "anthropic": Provider(dialect="anthropic", base_url="https://api.anthropic.com"),
    }
    agents: Mapping[AgentName, Agent]

    @model_validator(mode="after")
    def _is_of_one_piece(self) -> Rules:
        owner: dict[str, str] = {}
        for name, agent in self.agents.items():
            for missing in set(agent.providers) - self.providers.keys():
                raise ValueError(f"agents.{name}: there is no provider {missing}")
            for each in agent.names:
                if owner.setdefault(each, name) != name:
                    raise ValueError(f"agents.{name}: {each} is {owner[each]}'s name already")
        return self

    def agent_of(self, names: frozenset[str]) -> str | None:
        """Return the one agent whose certificate this is; None for nobody's, and for one of several."""
        found = [name for name, agent in self.agents.items() if names & set(agent.names)]
        return found[0] if len(found) == 1 else None


def is_permitted(host: str, patterns: tuple[str, ...]) -> bool:
    """Say whether a host is one of the names. `*.a.b` stands for every name below a.b, and not for a.b."""
    return any(
        host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern for pattern in patterns
    )


def read_rules(path: Path, variable: str) -> Rules:
    """Return the rules of a file.

    Raises:
        SettingsError: it cannot be read, or the first thing that is wrong in it.
    """
    remedy = "mend the file; docs/how-to/guard-an-agent.md shows one"
    try:
        text = path.read_bytes()[: LARGEST_FILE_BYTES + 1].decode()
        document = yaml.safe_load(text) if len(text) <= LARGEST_FILE_BYTES else None
        return Rules.model_validate(document)
    except OSError as error:
        raise SettingsError(variable, f"cannot be read ({error.strerror})", "name a file that can") from None
    except (UnicodeDecodeError, yaml.YAMLError):
        raise SettingsError(variable, "names a file that is no YAML", remedy) from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            variable, f"names a file that is wrong: {where} {first['msg']}".strip(), remedy
        ) from None
