"""Where hosts keep what the tenant's Vault needs of them, as the roles `vault` and `vault_agent` lay it out.

Whoever reads or writes these files on a host, over SSH or in a play, has their names from here.
"""

from __future__ import annotations

from mutx_infra.vault.server import ServerPaths

VAULT_AUTHORITY = ServerPaths().authorities
"""On each Vault host: the authority, made there, by which its server's certificate is known. Public."""
OWN_AUTHORITY = "/etc/openbao/tls/own-ca.crt"
"""The same without those of the other nodes: what the toolkit collects from each."""
SEAL_TOKEN = "/etc/openbao/seal-token"  # noqa: S105 - a file's name
"""On each Vault host whose seal is `transit`: the token for the tenant's own Vault, mode 0600, without a line end."""

MACHINE_FOLDER = "/etc/mutx/vault"
MACHINE_REQUEST = f"{MACHINE_FOLDER}/machine.csr"
"""On each host that logs in to the Vault: its request for a certificate, in PEM. Public."""
MACHINE_KEY = f"{MACHINE_FOLDER}/machine.key"
"""The request's key, made on the host; it never leaves it."""
MACHINE_CERTIFICATE = f"{MACHINE_FOLDER}/machine.crt"
"""What the tenant's administrator signed; it renews itself from then on."""
SERVER_AUTHORITIES = f"{MACHINE_FOLDER}/ca.crt"
"""The authorities of all the Vault's nodes, one after the other."""
MACHINE_SETTINGS = f"{MACHINE_FOLDER}/machine.json"
"""What its programs are told: `AgentPlan.settings`."""
AGENT_CONFIGURATION = f"{MACHINE_FOLDER}/agent.hcl"
MACHINE_ACCOUNT = "mutx-vault"
"""The account whose key it is."""

AGENT_RUNTIME = "/run/mutx-vault"
"""In memory, for that account alone: the Vault Agent's socket, and what it renders."""
AGENT_SECRETS = "/run/mutx-agent-secrets"
"""In memory, on agent hosts: what the tenant's agent reads, by its contract."""
AGENT_ACCOUNT = "mutx-agent"

TLS_FOLDER = "/etc/mutx/tls"
CLIENT_AUTHORITY = f"{TLS_FOLDER}/service-ca.crt"
"""On a database host: the Vault's authority of services, by whose certificates clients show who they are. Public."""
