"""Who tries what at a tenant's Vault. Apart from the claims: the command line names them before it needs those."""

from __future__ import annotations

from enum import StrEnum


class Who(StrEnum):
    """Who tries.

    Attributes:
        ANYBODY: has not logged in.
        STRANGER: has certificates of an authority of their own, with the platform's names.
        OTHER_TENANT: the platform, with a certificate for another tenant's Vault.
        MACHINE: a host that is no agent.
    """

    ANYBODY = "anybody"
    STRANGER = "stranger"
    OTHER_TENANT = "other-tenant"
    ONBOARDER = "onboarder"
    OPERATOR = "operator"
    AGENT = "agent"
    MACHINE = "machine"
    DEPOSITOR = "depositor"
    ADMIN = "admin"
