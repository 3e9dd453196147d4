#!/bin/sh
# A tenant with real machines and a Vault of its own, from nothing to its end. As root, on Linux; minutes.
# The tenant plays in a folder of its own, .mutx/demo/people/acme, and the operator sees of it what it hands over.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
export PATH
exec </dev/null

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

demo=.mutx/demo
own=$demo/people/acme

# Run something as the tenant: its folder, its certificate, its place in the network, and nothing of the platform's.
as_tenant() {
    printf '\nacme$ %s\n' "$*"
    .venv/bin/python tools/as_tenant.py acme "$own" "$@"
}

mkdir -p "$demo/tenants"
cp tenants/acme.lock.yaml "$demo/tenants/"
{ cat tenants/acme.yaml; tools/demo_tenant.sh acme "$own"; } >"$demo/tenants/acme.yaml"
if [ ! -f "$own/ann.asc" ]; then
    gpg --homedir "$own" --batch --quiet --passphrase '' --quick-generate-key ann@acme.example future-default default never
    gpg --homedir "$own" --batch --quiet --armor --export ann@acme.example >"$own/ann.asc"
fi
[ -f "$own/openai.key" ] || printf 'sk-of-the-demo' >"$own/openai.key"

run mutx-infra sandbox up --hosts
run mutx-infra tenant create -f "$demo/tenants/acme.yaml"
cp .mutx/vault/sandbox/acme/acme.vault.json "$own/"

as_tenant mutx-infra vault enroll acme --all --yes
run mutx-infra vault certificates acme -f "$own/certificates"
run mutx-infra hosts harden acme
as_tenant mutx-infra vault claim acme --pgp-key ann.asc
run mutx-infra vault handed-over acme -f "$own/acme.claim.json"
as_tenant mutx-infra vault deposit acme openai --agent agent-1 --from openai.key
as_tenant mutx-infra vault list acme
run mutx-infra tenant show acme

printf '\n$ mutx-infra tenant destroy acme --yes  # refused: the tenant has not said that it shredded its Vault\n'
mutx-infra tenant destroy acme --yes && exit 1
as_tenant mutx-infra vault shred acme --yes
run mutx-infra tenant destroy acme --yes --shred-receipt "$own/acme.shred.json"
