"""Playbooks and roles that configure hosts (*planned*: the hosts capability fills this package)."""
