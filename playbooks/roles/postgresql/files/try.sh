# Start a server from the staged configuration as the real one would be started, on another port and without data, and
# end it. What would keep the real one down is thereby known before a file lands.
set -eu
stage=$1 bin=/usr/lib/postgresql/$2/bin conf=$1/etc/postgresql/$2/main
cd /
chmod 0711 "$stage"
mkdir "$stage/data"
chown -R postgres: "$stage/etc/postgresql" "$stage/data"
as() { runuser -u postgres -- "$@"; }
as "$bin/initdb" --no-sync --auth=reject -D "$stage/data" >"$stage/log" 2>&1 || { cat "$stage/log" >&2; exit 1; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
# Before the first run there is no certificate yet, and check mode makes none.
certificate=$(sed -n "s/^ssl_cert_file = '\(.*\)'$/\1/p" "$conf/conf.d/99-mutx.conf")
tls=; [ -e "$certificate" ] || tls="-c ssl=off"
# Unless all else fails, `timeout` ends it: whoever started this may be killed.
as timeout 30 "$bin/postgres" -D "$stage/data" -c config_file="$conf/postgresql.conf" -c data_directory="$stage/data" \
  -c unix_socket_directories="$stage/data" -c port="$port" -c external_pid_file= -c log_destination=stderr \
  -c logging_collector=off $tls >"$stage/log" 2>&1 &
server=$!
while kill -0 "$server" 2>/dev/null && ! grep -q 'ready to accept connections' "$stage/log"; do sleep 0.1; done
kill "$server" 2>/dev/null || true
wait "$server" || true
if grep -q 'ready to accept connections' "$stage/log" && ! grep -q 'could not bind' "$stage/log"; then exit 0; fi
grep -hE 'FATAL|ERROR|could not|invalid|unrecognized|CONTEXT|DETAIL' "$stage/log" >&2 || cat "$stage/log" >&2
exit 1
