#!/bin/sh
# The platform and two tenants in the sandbox, from nothing. `make demo` calls this; it asks nothing and stops at the first failure.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
export PATH
exec </dev/null

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

run mutx-infra sandbox up
run mutx-infra platform create
run mutx-infra tenant create -f tenants/acme.yaml
run mutx-infra tenant create -f tenants/globex.yaml
run mutx-infra tenant list
run mutx-infra tenant show acme
run mutx-infra tenant show globex
run mutx-infra platform show
run mutx-infra tenant history acme

cat <<'END'

The sandbox is still up. Look round:
  .venv/bin/mutx-infra tenant outputs acme
  .venv/bin/mutx-infra tenant preview -f tenants/acme.yaml
  .venv/bin/mutx-infra sandbox status
End it:
  .venv/bin/mutx-infra sandbox down
END
