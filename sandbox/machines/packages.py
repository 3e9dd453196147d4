"""What is baked into the image: Debian 12's own packages, so that hosts without a way out lack nothing.

The list is that of `playbooks/image.yml`'s purpose: every package that a role configures. It is part of the image's
name, so a change of it makes another image.
"""

from __future__ import annotations

SUITE = "bookworm"

SYSTEM = (
    "systemd", "systemd-sysv", "libpam-systemd", "dbus", "udev", "kmod", "procps", "iproute2", "iputils-ping",
    "netbase", "ca-certificates", "cron", "logrotate", "rsyslog", "chrony", "acl", "less", "locales", "xz-utils",
)  # fmt: skip
ACCESS = ("openssh-server", "sudo", "libpam-pwquality", "libpam-modules", "login", "passwd")
PYTHON = ("python3", "python3-apt", "python3-botocore", "python3-systemd", "python3-yaml")
DEFENCE = (
    "nftables", "iptables", "ufw", "fail2ban", "auditd", "audispd-plugins", "aide", "aide-common", "apparmor",
    "apparmor-utils", "unattended-upgrades", "needrestart", "debsums", "lynis",
)  # fmt: skip
DATABASE = ("postgresql", "postgresql-client", "redis-server", "python3-psycopg2", "ssl-cert")
PROXY = ("squid-openssl",)
TRIAL = ("curl", "netcat-openbsd", "openssl", "strace", "tcpdump", "tmux")
"""What tests and people look about with."""

PACKAGES = tuple(sorted({*SYSTEM, *ACCESS, *PYTHON, *DEFENCE, *DATABASE, *PROXY, *TRIAL}))

IDLE_SERVICES = ("fail2ban", "postgresql", "redis-server", "squid")
"""Installed and not started at boot: the role that configures one enables it."""
