#!/bin/sh
# Write requirements.lock, those of services, the judge's and tools/uv.lock anew. `make lock` calls this; it needs uv and a package index.
#
# The lock names no index: whoever installs from it uses the index of their own configuration, and the hashes decide.
# pulumi is pinned to the engine's version, which is said in tools/pulumi/go.mod alone.
set -eu
cd "$(dirname "$0")/.."

uv=$(command -v uv || ls -d "${MUTX_INFRA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mutx-infra}"/uv-*/bin/uv 2>/dev/null | tail -n 1)
if [ -z "$uv" ]; then
    echo 'error[uv-missing]: uv was not found on PATH, nor in the cache' >&2
    echo '  hint: run `make setup` once, or install uv (https://docs.astral.sh/uv/)' >&2
    exit 3
fi

version=$(sed -n 's,^[[:space:]]*github.com/pulumi/pulumi/pkg/v3 v\([^ ]*\).*,\1,p' tools/pulumi/go.mod)
mkdir -p -m 700 .mutx
printf 'pulumi==%s\n' "$version" >.mutx/engine-version.txt

# The kit is on no index: what it needs is locked, itself comes from the checkout, or to a host as a companion wheel.
compile() {
    "$uv" pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command 'make lock' \
        --no-emit-index-url --no-emit-find-links --no-emit-package mutx-service-kit "$@"
}
# Upgrades are asked for: `make lock UPGRADE=1`; otherwise only what pyproject.toml changed is resolved anew.
compile ${UPGRADE:+--upgrade} --all-extras --constraints tools/constraints.txt --constraints .mutx/engine-version.txt \
    --output-file requirements.lock pyproject.toml services/*/pyproject.toml
# What a host, or a tenant, installs is what was tested: the same versions, without the toolkit's.
for service in control_plane guardrail reference_agent vault_verify; do
    compile ${UPGRADE:+--upgrade} --constraints requirements.lock --output-file services/$service/requirements.lock \
        services/$service/pyproject.toml
done
compile --output-file tools/uv.lock tools/uv.in
# The judge's server is no service of ours: for guards of Debian 12 alone (CUDA, x86_64), and of wheels alone.
"$uv" pip compile --quiet --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_36 --only-binary :all: \
    --custom-compile-command 'make lock' --no-emit-index-url --no-emit-find-links ${UPGRADE:+--upgrade} \
    --output-file playbooks/roles/judge/files/vllm.lock playbooks/roles/judge/files/vllm.in
