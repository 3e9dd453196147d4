#!/bin/sh
# End this checkout's sandbox, then remove what `make setup` and the tests made in the checkout. `make clean` calls this.
#
# Two things stay: .mutx, because it may hold the only record of what was created, and the cache outside of the
# checkout, because other checkouts use it.
set -eu
cd "$(dirname "$0")/.."

if [ -d .mutx ] && [ -x .venv/bin/mutx-infra ]; then
    if ! .venv/bin/mutx-infra sandbox down </dev/null; then
        echo 'error[sandbox-still-up]: the sandbox did not end, so nothing was removed' >&2
        echo '  hint: see `.venv/bin/mutx-infra sandbox status`; to remove everything regardless: rm -rf .venv' >&2
        exit 4
    fi
fi

rm -rf .venv build dist ./*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
find . -path ./.git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
