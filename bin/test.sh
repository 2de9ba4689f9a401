#!/bin/sh
# Runs the tests and passes its arguments to pytest. Exits with pytest's code: 0 if all pass.
set -eu
cd -- "$(dirname -- "$0")/.."
exec ./run.sh test "$@"
