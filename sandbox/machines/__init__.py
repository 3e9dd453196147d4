"""Real machines of the sandbox: Debian with systemd and sshd, in networks of their own, on this machine."""
