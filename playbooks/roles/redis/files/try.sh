# Start a server from the staged configuration as the real one would be started, on another port and without data, and
# end it. What would keep the real one down is thereby known before a file lands.
set -eu
stage=$1 conf=$1/etc/redis/mutx.conf
chmod 0711 "$stage"
mkdir "$stage/data"
sed '/^# /d; s/#{[a-z]*}/nopass/' "$stage/etc/redis/mutx-users.acl" >"$stage/data/users.acl"
chown -R redis: "$stage/etc/redis" "$stage/data"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
# Before the first run there is no certificate yet, and check mode makes none.
certificate=$(sed -n 's/^tls-cert-file //p' "$conf")
tls=$port; [ -e "$certificate" ] || tls=0
cd "$stage/data"
# Unless all else fails, `timeout` ends it: whoever started this may be killed.
runuser -u redis -- timeout 20 redis-server "$conf" --supervised no --daemonize no --port 0 --tls-port "$tls" \
  --dir "$stage/data" --unixsocket "$stage/data/socket" --aclfile "$stage/data/users.acl" --appendonly no --save '' \
  >"$stage/log" 2>&1 &
server=$!
while kill -0 "$server" 2>/dev/null && ! grep -q 'eady to accept connections' "$stage/log"; do sleep 0.1; done
kill "$server" 2>/dev/null || true
wait "$server" || true
grep -q 'eady to accept connections' "$stage/log" && exit 0
grep -vE 'oO0OoO0|Configuration loaded|Redis version|WARNING|monotonic|^ *[`_.|-]' "$stage/log" >&2
exit 1
