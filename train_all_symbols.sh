#!/usr/bin/env bash
# Train every symbol: ./train_all_symbols.sh --phase core [--help]
set -eu
for python in ${VIRTUAL_ENV:+"$VIRTUAL_ENV/bin/python"} python3 python; do
    if "$python" -c 'import importlib.util, sys; sys.exit(None in map(importlib.util.find_spec, ("TRAINING", "typer")))' 2>/dev/null; then
        exec "$python" -m TRAINING train "$@"
    fi
done
echo "barzoo is not installed for any python on the PATH; run: pip install -c constraints.txt -e ." >&2
exit 2
