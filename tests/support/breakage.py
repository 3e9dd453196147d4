"""How each control is broken by hand, for tests that see exactly its check fail and the playbooks mend it."""

from __future__ import annotations

from dataclasses import dataclass

POLICY = "/etc/ssh/sshd_config.d/00-mutx.conf"
TELNET = (
    "mkdir -p /tmp/telnet/DEBIAN && printf 'Package: telnet\\nVersion: 1\\nArchitecture: all\\nMaintainer: nobody\\n"
    "Description: a stand-in\\n' > /tmp/telnet/DEBIAN/control && dpkg-deb --build /tmp/telnet /tmp/telnet.deb "
    "&& dpkg --install /tmp/telnet.deb"
)


@dataclass(frozen=True)
class Breakage:
    """One way to break a control.

    Attributes:
        script: run by root's shell on the host.
        also: controls that look at the same thing, and so fail with it.
        own_kernel: it takes a machine that has one.
    """

    script: str
    also: tuple[str, ...] = ()
    own_kernel: bool = False


def policy(old: str, new: str) -> Breakage:
    """Return the breakage of one line in sshd's policy, put in force."""
    return Breakage(f"sed -i 's/^{old}/{new}/' {POLICY} && systemctl reload ssh")


BREAKAGES = {
    "base-02": Breakage(TELNET),
    "base-03": Breakage("systemctl unmask ctrl-alt-del.target"),
    "base-04": Breakage(r"sed -i 's/^UMASK.*/UMASK 022/' /etc/login.defs"),
    "base-05": Breakage("systemctl disable --now unattended-upgrades.service"),
    "base-06": Breakage("sysctl -w kernel.dmesg_restrict=0", own_kernel=True),
    "base-07": Breakage("mount -o remount,suid /dev/shm", own_kernel=True),
    "base-10": Breakage(
        "echo 'deb http://deb.debian.org/debian bookworm-backports main' >/etc/apt/sources.list.d/a.list"
    ),
    "base-09": Breakage("sed -i 's/^deny *=.*/deny = 50/' /etc/security/faillock.conf"),
    "ssh-01": Breakage(f"chmod 0644 {POLICY}"),
    "ssh-02": policy("PasswordAuthentication no", "PasswordAuthentication yes"),
    "ssh-03": policy("PermitRootLogin no", "PermitRootLogin yes"),
    "ssh-04": policy("AllowGroups ", "AllowGroups adm "),
    "ssh-05": policy("Ciphers ", "Ciphers aes128-ctr,"),
    "ssh-06": policy("X11Forwarding no", "X11Forwarding yes"),
    "ssh-07": policy("MaxAuthTries .*", "MaxAuthTries 10"),
    "ufw-03": Breakage("iptables -A ufw-user-input -p tcp --dport 9999 -j ACCEPT"),
    "ufw-04": Breakage("ip6tables -P FORWARD ACCEPT"),
    "ufw-05": Breakage("systemctl disable ufw.service"),
    "ufw-07": Breakage("iptables -A ufw-user-input -p tcp --dport 22 -j ACCEPT", also=("ufw-03",)),
    "f2b-02": Breakage("fail2ban-client set sshd maxretry 30"),
    "f2b-03": Breakage("systemctl disable fail2ban.service"),
    "aa-02": Breakage("systemctl disable apparmor.service"),
    "aide-01": Breakage(r"sed -i '/^\/boot/d' /etc/aide/aide.conf"),
    "aide-02": Breakage("sed -i '$d' /var/lib/aide/aide.db"),
    "aide-03": Breakage("systemctl disable --now aidecheck.timer"),
    "audit-01": Breakage("systemctl disable auditd.service", own_kernel=True),
}
"""By control id; `tests/unit/compliance/test_breakage.py` demands one for every control that a suite looks at."""

BROKEN_ELSEWHERE = {
    **dict.fromkeys(("agent-01", "agent-02", "agent-03", "agent-04", "agent-05", "ufw-09"), "test_agent.py"),
    **dict.fromkeys(
        ("guard-01", "guard-02", "guard-03", "guard-04", "guard-05", "guard-06"), "test_guardrail.py"
    ),
    **dict.fromkeys(("judge-02", "judge-03", "judge-04", "judge-05", "judge-06"), "test_judge.py"),
    **dict.fromkeys(
        ("pg-01", "pg-02", "pg-03", "pg-04", "pg-05", "pg-06", "pg-07", "pg-08", "pg-09"),
        "test_data_hosts.py",
    ),
    **dict.fromkeys(
        ("redis-01", "redis-02", "redis-03", "redis-04", "redis-05", "redis-06", "redis-07"),
        "test_data_hosts.py",
    ),
    **dict.fromkeys(("ts-02", "ts-03", "ts-04", "ts-05"), "test_tailnet.py"),
    **dict.fromkeys(("proxy-01", "proxy-02", "proxy-03"), "tenant/test_way_out.py"),
    **dict.fromkeys(
        ("vault-02", "vault-03", "vault-04", "vault-05", "vault-06", "vault-07", "vault-08"), "test_vault.py"
    ),
    **dict.fromkeys(("va-02", "va-03", "va-04", "va-05"), "test_vault.py"),
    "aide-04": "tenant/test_hardening.py",
}
"""By the tests of the role itself, which only some hosts have."""

UNBREAKABLE = {
    **dict.fromkeys(("aa-03", "aa-05"), "no kernel of the tests has AppArmor"),
    **dict.fromkeys(("gpu-02", "gpu-03", "gpu-04", "gpu-05"), "no machine of the tests has a GPU"),
    "aa-01": "a package that is gone comes back from a mirror, which the tests' machines do not have",
    "ts-01": "the image's own program, whose absence is refused before anything is looked at",
    "ufw-08": "no machine of the tests has Docker; its rules meet real traffic in tests/hosts/test_roles.py",
    "ts-06": "fixed addresses stand in for a tailnet in the sandbox alone",
    "base-01": "a package that is gone comes back from a mirror, which the tests' machines do not have",
    "audit-02": "the kernel's rules are locked until the next boot, which is what the control is about",
}
