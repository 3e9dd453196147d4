"""The environment of child processes: only what is named here passes, so that a stray variable changes nothing."""

from __future__ import annotations

from collections.abc import Mapping

from mutx_infra.adapters.file_backend import without_sidecars
from mutx_infra.environment import Environment

_PASSED = frozenset(
    {
        "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER",
        "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
        "SSL_CERT_DIR", "SSL_CERT_FILE", "AWS_CA_BUNDLE",
        "PULUMI_ACCESS_TOKEN",
    }
)  # fmt: skip

_AWS_CREDENTIALS = frozenset(
    {
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
        "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_PROFILE",
        "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_EC2_METADATA_DISABLED",
    }
)  # fmt: skip
"""Standard credential sources; they pass only where the profile names no source of its own."""


def child_environment(variables: Mapping[str, str], environment: Environment) -> dict[str, str]:
    """Return the whole environment of an engine process under one profile.

    Endpoint overrides (AWS_ENDPOINT_URL…), debug providers, plugin redirections, backend URLs and regions of
    the caller's shell never pass: each comes from the profile or from the stack's config.
    """
    names_source = environment.aws.credentials_file is not None or environment.aws.profile is not None
    passed = _PASSED | (frozenset() if names_source else _AWS_CREDENTIALS)
    child = {name: value for name, value in variables.items() if name in passed}
    if environment.aws.credentials_file is not None:
        child["AWS_SHARED_CREDENTIALS_FILE"] = environment.aws.credentials_file
        child["AWS_EC2_METADATA_DISABLED"] = "true"
    if environment.aws.profile is not None:
        child |= {
            name: variables[name]
            for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
            if name in variables
        }
        child["AWS_PROFILE"] = environment.aws.profile
    child["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "true"
    child["PULUMI_BACKEND_URL"] = without_sidecars(environment.pulumi.backend_url)
    child["PULUMI_SKIP_UPDATE_CHECK"] = "true"
    if environment.pulumi.passphrase_file is not None:
        child["PULUMI_CONFIG_PASSPHRASE_FILE"] = environment.pulumi.passphrase_file
    if environment.pulumi.attached_providers:
        attached = environment.pulumi.attached_providers.items()
        child["PULUMI_DEBUG_PROVIDERS"] = ",".join(
            f"{name}:{address.rsplit(':', 1)[1]}" for name, address in attached
        )
        child["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    return child
