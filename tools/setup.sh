#!/bin/sh
# Find a Python that is new enough and let tools/set_up.py do the rest. `make setup` calls this.
set -eu
cd "${0%/*}/.."

for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 </dev/null; then
        exec "$candidate" -I tools/set_up.py </dev/null
    fi
done

echo 'error[python-missing]: Python 3.11 or newer was not found' >&2
echo '  looked for python3, python3.14, python3.13, python3.12 and python3.11 on PATH' >&2
echo '  hint: install one (https://www.python.org/downloads/), or name it: PYTHON=/path/to/python3 make setup' >&2
exit 3
