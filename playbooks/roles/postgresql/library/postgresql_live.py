"""Let the running server have its configuration, databases and roles, and notice where it no longer does.

All of it is asked of the server itself: a setting, a role or a grant that was changed by hand is mended like one that
a killed run did not reach. Passwords are read on the host, and the server is given their verifiers only.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: postgresql_live
short_description: Put configuration, databases and roles of a PostgreSQL server in force
description:
  - Starts the server where it does not run, has it reload where its files changed, and restarts it where the server
    itself says that a setting waits for that.
  - Makes databases, owners and users, and mends those that differ. Extra databases and roles are left alone.
author: mutx.dev
options:
  version: {description: The major version., type: str, required: true}
  fragment: {description: The file of settings that nothing may override., type: path, required: true}
  databases:
    description: What databases there are, with C(name), C(owner), C(user), C(connection_limit).
    type: list
    elements: dict
    required: true
  user_settings: {description: Settings of every user., type: dict, default: {}}
  secrets: {description: The directory of passwords., type: path, required: true}
  address: {description: Where to ask for the served certificate., type: str, default: ""}
  fingerprint: {description: SHA-256 of the certificate that is to be served., type: str, default: ""}
  is_pending: {description: Files were landed (in check mode they would have been)., type: bool, default: false}
  drop_in: {description: The unit's own file, with which a server starts., type: path, required: true}
"""

EXAMPLES = r"""
- name: Put configuration, databases and roles in force
  postgresql_live:
    version: "15"
    fragment: /etc/postgresql/15/main/conf.d/99-mutx.conf
    databases: [{name: app, owner: app_owner, user: app, connection_limit: 40}]
    secrets: /etc/mutx/secrets
    drop_in: /etc/systemd/system/postgresql@15-main.service.d/10-mutx.conf
"""

PENDING = Path("/var/lib/mutx/pending/postgresql")
PORT = 5432
START_WITHIN_S = 120
SHORTEST_PASSWORD = 16
ITERATIONS = 4096  # the server's own; a password of 256 random bits needs no more
VERIFIER = re.compile(r"SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)")
QUIET = "SET log_statement = 'none'; SET log_min_error_statement = 'panic'; SET log_min_duration_statement = -1;\n"
ATTRIBUTES = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
TABLES, SEQUENCES = "SELECT, INSERT, UPDATE, DELETE", "SELECT, USAGE"

CLUSTER = """
SELECT json_build_object(
  'roles', (SELECT json_object_agg(rolname, json_build_object(
      'login', rolcanlogin, 'limit', rolconnlimit, 'password', rolpassword,
      'powers', rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls,
      'settings', coalesce((
        SELECT setconfig FROM pg_db_role_setting WHERE setrole = a.oid AND setdatabase = 0), '{}'),
      'member_of', ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = a.oid)))
    FROM pg_authid a),
  'databases', (SELECT json_object_agg(datname, json_build_object(
      'owner', pg_get_userbyid(datdba),
      'open', EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE grantee = 0),
      'connects', ARRAY(SELECT pg_get_userbyid(grantee) FROM aclexplode(datacl) WHERE privilege_type = 'CONNECT'
        AND grantee <> 0)))
    FROM pg_database),
  'overridden', (SELECT json_agg(json_build_array(o.name, (
        SELECT sourcefile FROM pg_file_settings w WHERE w.name = o.name AND w.applied)))
      FROM pg_file_settings o WHERE sourcefile = :'fragment' AND NOT applied AND error IS NULL),
  'waiting', (SELECT json_agg(name) FROM pg_settings WHERE pending_restart),
  'hba_errors', (SELECT json_agg(error) FROM pg_hba_file_rules WHERE error IS NOT NULL),
  'loaded_at', pg_conf_load_time());
"""

INSIDE = """
SELECT json_build_object(
  'open', EXISTS (SELECT FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
    WHERE nspname = 'public' AND grantee = 0 AND privilege_type = 'CREATE'),
  'owner_creates', has_schema_privilege(:'owner', 'public', 'CREATE'),
  'user_creates', has_schema_privilege(:'user', 'public', 'CREATE'),
  'defaults', coalesce((SELECT json_object_agg(defaclobjtype, defaclacl::text[]) FROM pg_default_acl
    WHERE defaclrole = to_regrole(:'owner') AND defaclnamespace = 'public'::regnamespace), '{}'));
"""


@dataclass(frozen=True)
class Database:
    """One database, who owns it, and who may use it."""

    name: str
    owner: str
    user: str
    connection_limit: int


@dataclass(frozen=True)
class Server:
    """The cluster `main` of a version, by its unit and its socket."""

    module: AnsibleModule
    version: str
    fragment: str

    @property
    def unit(self) -> str:
        """Return the unit that runs it."""
        return f"postgresql@{self.version}-main.service"

    def runs(self) -> bool:
        """Say whether systemd runs it."""
        return bool(self.module.run_command(["systemctl", "is-active", "--quiet", self.unit])[0] == 0)

    def is_older_than_its_unit(self) -> bool:
        """Say whether the server was started before its unit's file landed."""
        file = Path(self.module.params["drop_in"])
        command = ["systemctl", "show", "--value", "--property=ActiveEnterTimestampMonotonic", self.unit]
        since_boot_s = int(self.module.run_command(command)[1].strip() or 0) / 1_000_000
        return file.exists() and file.stat().st_mtime > time.time() - time.monotonic() + since_boot_s

    def systemctl(self, *arguments: str) -> None:
        """Have systemd do something; whether it took effect is asked of the server."""
        self.module.run_command(["systemctl", *arguments])

    def look(self) -> dict[str, Any]:
        """Return what the cluster has, once it answers.

        A server that is starting, or recovering after a power cut, is waited for.
        """
        deadline = time.monotonic() + START_WITHIN_S
        while True:
            code, out, err = self._psql(CLUSTER, "postgres", fragment=self.fragment)
            if code == 0:
                found: dict[str, Any] = json.loads(out)
                return found
            if time.monotonic() > deadline or not self.runs():
                log = Path(f"/var/log/postgresql/postgresql-{self.version}-main.log")
                said = log.read_text("utf-8", "replace").splitlines()[-5:] if log.exists() else []
                self.module.fail_json(
                    msg=f"[postgresql-down] {self.unit} does not answer: {err.strip()} {' '.join(said)}"
                )
            time.sleep(0.2)

    def inside(self, database: Database) -> dict[str, Any]:
        """Return what a database has."""
        out = self.query(INSIDE, database.name, owner=database.owner, user=database.user)
        found: dict[str, Any] = json.loads(out)
        return found

    def query(self, sql: str, database: str = "postgres", **values: str) -> str:
        """Run SQL that must succeed. It goes through a pipe, and the server logs none of it."""
        code, out, err = self._psql(sql, database, **values)
        if code != 0:
            # The message may hold the statement, and that a verifier.
            said = re.sub(r"SCRAM-SHA-256\$\S+", "(verifier)", err.strip())
            self.module.fail_json(msg=f"[postgresql-statement] {database}: {said}")
        return out

    def _psql(self, sql: str, database: str, **values: str) -> tuple[int, str, str]:
        command = [
            "runuser",
            "-u",
            "postgres",
            "--",
            "psql",
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            database,
        ]
        command += ["-h", "/var/run/postgresql", "-p", str(PORT)]
        command += [word for name, value in values.items() for word in ("-v", f"{name}={value}")]
        code, out, err = self.module.run_command(command, data=f"{QUIET}{sql}", cwd="/")
        return code, out, err


def main() -> None:
    """Compare, put in force, compare the databases, mend them."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "fragment": {"type": "path", "required": True},
            "databases": {"type": "list", "elements": "dict", "required": True},
            "user_settings": {"type": "dict", "default": {}},
            "secrets": {"type": "path", "required": True, "no_log": False},
            "address": {"type": "str", "default": ""},
            "fingerprint": {"type": "str", "default": ""},
            "is_pending": {"type": "bool", "default": False},
            "drop_in": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    server = Server(module, module.params["version"], module.params["fragment"])
    databases = [Database(**entry) for entry in module.params["databases"]]
    was_running = server.runs()
    if not was_running and module.check_mode:
        module.exit_json(changed=True, reasons=["the server does not run"])
    reasons = configuration(server, was_running=was_running)
    passwords = {base.user: password_of(module, base.user, reasons) for base in databases}
    for base in databases:
        reasons += mend(server, base, passwords[base.user])
    module.exit_json(changed=bool(reasons), reasons=reasons)


def configuration(server: Server, *, was_running: bool) -> list[str]:
    """Let the server have its files; returns why that was necessary, if it was."""
    given, module = server.module.params, server.module
    reasons = ["the files changed"] if given["is_pending"] else []
    if not was_running:
        server.systemctl("daemon-reload")
        server.systemctl("start", server.unit)
        server.look()
        PENDING.unlink(missing_ok=True)
        return [*reasons, "the server did not run"]
    seen = server.look()
    reasons += [f"{name} is overridden in {file}" for name, file in seen["overridden"] or []]
    if not given["is_pending"]:
        reasons += [f"{name} waits for a restart" for name in seen["waiting"] or []]
        reasons += ["the server is older than its unit"] if server.is_older_than_its_unit() else []
        if given["fingerprint"] and given["fingerprint"] != served(given["address"]):
            reasons.append("another certificate is served")
    if reasons and not module.check_mode:
        put_in_force(server, seen)
        PENDING.unlink(missing_ok=True)
    return reasons


def put_in_force(server: Server, seen: dict[str, Any]) -> None:
    """Reload, and restart where the server says that a setting waits for it."""
    for name, file in seen["overridden"] or []:
        if not file.endswith("/postgresql.auto.conf"):
            server.module.fail_json(
                msg=f"[postgresql-overridden] {name} of {server.fragment} has no effect, since {file} is read "
                "after it: take it out of that file"
            )
        server.query(f'ALTER SYSTEM RESET "{name}";')
    server.systemctl("daemon-reload")
    server.systemctl("reload", server.unit)
    after = await_load(server, seen["loaded_at"])
    if after["hba_errors"]:
        server.module.fail_json(
            msg=f"[postgresql-hba] the server keeps its former rules: {after['hba_errors']}"
        )
    if after["waiting"] or server.is_older_than_its_unit():
        server.systemctl("restart", server.unit)
        server.look()


def await_load(server: Server, before: str) -> dict[str, Any]:
    """Return what the server has after it read its files anew."""
    deadline = time.monotonic() + START_WITHIN_S
    while (now := server.look())["loaded_at"] == before:
        if time.monotonic() > deadline:
            server.module.fail_json(
                msg="[postgresql-reload] the server does not take its files, and keeps the former ones; see its log"
            )
        time.sleep(0.1)
    return now


def served(address: str) -> str:
    """Return the digest of the certificate that clients are shown at an address; "" where there is no TLS."""
    if not address:
        return ""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((address, PORT), 5) as plain:
            plain.sendall(struct.pack("!ii", 8, 80_877_103))
            if plain.recv(1) != b"S":
                return ""
            with context.wrap_socket(plain) as wrapped:
                return hashlib.sha256(wrapped.getpeercert(binary_form=True) or b"").hexdigest()
    except OSError:
        return ""


def password_of(module: AnsibleModule, user: str, reasons: list[str]) -> str:
    """Return a user's password out of its file; one that is not there is made."""
    file = Path(module.params["secrets"], f"postgresql-{user}")
    if not file.exists():
        reasons.append(f"{file} was made")
        if module.check_mode:
            return ""
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished = file.with_name(f".{file.name}")
        unfinished.touch(mode=0o600)
        unfinished.write_text(secrets.token_urlsafe(32) + "\n", encoding="ascii")
        unfinished.replace(file)
    if file.stat().st_mode & 0o177 or file.stat().st_uid:
        reasons.append(f"others could read {file}")
        if not module.check_mode:
            os.chown(file, 0, 0)
            file.chmod(0o600)
    value = file.read_text(encoding="utf-8").strip()
    if len(value) < SHORTEST_PASSWORD or not value.isascii():
        module.fail_json(
            msg=f"[postgresql-password-file] {file} must hold at least {SHORTEST_PASSWORD} characters of ASCII"
        )
    return value


def mend(server: Server, base: Database, password: str) -> list[str]:
    """Bring one database and its two roles about; returns what was done, if anything."""
    seen = server.look()
    outside = list(cluster_statements(base, seen, password, server.module.params["user_settings"]))
    if outside and not server.module.check_mode:
        server.query("\n".join(sql for _, sql in outside))
    if server.module.check_mode and (base.name not in seen["databases"] or base.user not in seen["roles"]):
        return [why for why, _ in outside]
    within = list(inner_statements(base, server.inside(base)))
    if within and not server.module.check_mode:
        server.query("BEGIN;\n" + "\n".join(sql for _, sql in within) + "\nCOMMIT;", base.name)
    return [why for why, _ in (*outside, *within)]


def cluster_statements(
    base: Database, seen: dict[str, Any], password: str, settings: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    """Say what roles and a database lack, each with the statement that gives it."""
    roles, found = seen["roles"], seen["databases"].get(base.name)
    yield from role_statements(
        base.owner, roles.get(base.owner), f"NOLOGIN {ATTRIBUTES} CONNECTION LIMIT -1", -1
    )
    mine = roles.get(base.user)
    limit = base.connection_limit
    yield from role_statements(base.user, mine, f"LOGIN {ATTRIBUTES} CONNECTION LIMIT {limit}", limit)
    if not is_password(password, (mine or {}).get("password")):
        yield f"{base.user}: password", f"ALTER ROLE \"{base.user}\" PASSWORD '{verifier(password)}';"
    for name, value in settings.items():
        if f"{name}={value}" not in (mine or {}).get("settings", []):
            yield f"{base.user}: {name}", f"ALTER ROLE \"{base.user}\" SET {name} = '{value}';"
    if found is None:
        yield (
            f"{base.name}: made",
            (f'CREATE DATABASE "{base.name}" OWNER "{base.owner}" TEMPLATE template0 ENCODING \'UTF8\';'),
        )
    elif found["owner"] != base.owner:
        yield f"{base.name}: owner", f'ALTER DATABASE "{base.name}" OWNER TO "{base.owner}";'
    if found is None or found["open"]:
        yield f"{base.name}: closed to others", f'REVOKE ALL ON DATABASE "{base.name}" FROM PUBLIC;'
    if found is None or base.user not in found["connects"]:
        yield (
            f"{base.name}: open to {base.user}",
            f'GRANT CONNECT ON DATABASE "{base.name}" TO "{base.user}";',
        )


def role_statements(
    name: str, seen: dict[str, Any] | None, attributes: str, limit: int
) -> Iterator[tuple[str, str]]:
    """Say what a role has that it must not, or lacks."""
    if seen is None:
        yield f"{name}: made", f'CREATE ROLE "{name}" {attributes};'
        return
    if (seen["login"], seen["limit"], seen["powers"]) != (attributes.startswith("LOGIN"), limit, False):
        yield f"{name}: attributes", f'ALTER ROLE "{name}" {attributes};'
    for group in seen["member_of"]:
        yield f"{name}: not in {group}", f'REVOKE {group} FROM "{name}";'


def inner_statements(base: Database, seen: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Say what the schema `public` allows that it must not, or does not allow."""
    if seen["open"] or seen["user_creates"]:
        yield (
            f"{base.name}: only its owner makes tables",
            (f'REVOKE CREATE ON SCHEMA public FROM PUBLIC, "{base.user}";'),
        )
    if not seen["owner_creates"]:
        yield f"{base.name}: its owner makes tables", f'GRANT ALL ON SCHEMA public TO "{base.owner}";'
    for kind, name, wanted, letters in (("r", "TABLES", TABLES, "arwd"), ("S", "SEQUENCES", SEQUENCES, "rU")):
        if f"{base.user}={letters}/{base.owner}" not in seen["defaults"].get(kind, []):
            mine = f'"{base.user}"'
            start = f'ALTER DEFAULT PRIVILEGES FOR ROLE "{base.owner}" IN SCHEMA public'
            yield (
                f"{base.name}: {name.lower()} are for {base.user}",
                (f"{start} REVOKE ALL ON {name} FROM {mine}; {start} GRANT {wanted} ON {name} TO {mine};"),
            )


def verifier(password: str) -> str:
    """Return what the server keeps of a password (RFC 5803)."""
    return _verifier(password, secrets.token_bytes(16), ITERATIONS)


def is_password(password: str, kept: str | None) -> bool:
    """Say whether a verifier is that of a password."""
    found = VERIFIER.fullmatch(kept or "")
    if not found:
        return False
    return hmac.compare_digest(_verifier(password, base64.b64decode(found[2]), int(found[1])), str(kept))


def _verifier(password: str, salt: bytes, iterations: int) -> str:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    parts = [
        base64.b64encode(each).decode()
        for each in (salt, stored, hmac.digest(salted, b"Server Key", "sha256"))
    ]
    return f"SCRAM-SHA-256${iterations}:{parts[0]}${parts[1]}:{parts[2]}"


if __name__ == "__main__":
    main()
