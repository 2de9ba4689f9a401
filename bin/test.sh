#!/bin/sh
# Runs the tests; arguments go to pytest. Exits as pytest does: 0 when all pass.
set -eu
cd -- "$(dirname -- "$0")/.."
exec ./run.sh test "$@"
