#!/bin/sh
# Bucketline's launcher: `./run.sh COMMAND [ARGUMENTS]` is `python -m etl COMMAND …` in a
# virtual environment, `.venv`, which it creates on first use and when a lock file has changed.
# It needs only python3 >= 3.11 with pip.

set -eu

say() { printf '%s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

# The folder of this file, even if it is called through a symlink.
own_folder() {
    file=$1
    case $file in */*) ;; *) file=./$file ;; esac
    while [ -h "$file" ]; do
        target=$(readlink "$file")
        case $target in
            /*) file=$target ;;
            *) file=${file%/*}/$target ;;
        esac
    done
    CDPATH='' cd -- "${file%/*}/" && pwd -P
}

# --- the environment -------------------------------------------------------------------------

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# Sets `python`: $PYTHON if it is set, otherwise the first on PATH that is recent enough.
find_python() {
    if [ -n "${PYTHON-}" ]; then
        set -- "$PYTHON"
    else
        set -- python3 python3.13 python3.12 python3.11
    fi
    for python in "$@"; do
        if is_recent "$python"; then return; fi
    done
    version=$("$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) ||
        version='not to be found, or does not start'
    fail "Bucketline needs Python 3.11 or newer, but $1 is $version." \
        "Install a newer one, or set its path: PYTHON=/path/to/python3.12 ./run.sh up"
}

has_module() { "$python" -c "import $1" 2>/dev/null; }

has_recent_pip() {
    "$python" -c 'import pip, sys
sys.exit([int(part) for part in pip.__version__.split(".")[:2]] < [22, 3])' 2>/dev/null
}

# Sets `interpreter`, and `pip_kind`, the way to install packages into an environment:
#   option    `pip --python`, which pip has since 22.3
#   own       a pip inside it, made by ensurepip (which Debian's python3 often lacks)
#   borrowed  the older pip outside it, run by the Python inside
find_pip() {
    interpreter=$("$python" -c 'import os, sys; print(os.path.realpath(sys.executable))')
    if has_recent_pip; then
        pip_kind=option
    elif has_module ensurepip; then
        pip_kind=own
    elif has_module pip; then
        pip_kind=borrowed
    else
        fail "$python has no pip. Install it, for example with \`apt install python3-pip\` or" \
            "\`dnf install python3-pip\`, or set another: PYTHON=/path/to/python3 ./run.sh up"
    fi
}

# make_venv FOLDER. The interpreter goes by its real name (python3.11, not python3), so that an
# upgraded system leaves a broken link, which is detected, and not a link to a Python that the
# packages were not installed for.
make_venv() {
    find_pip
    if [ "$pip_kind" = own ]; then
        "$interpreter" -m venv "$1"
    else
        "$interpreter" -m venv --without-pip "$1"
    fi
}

# Imports only pip from the folder in its first argument, as `pip --python` does.
borrow_pip='
import importlib.machinery, runpy, sys
folder = sys.argv.pop(1)
class Borrowed:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "pip":
            return importlib.machinery.PathFinder.find_spec(name, [folder])
sys.meta_path.insert(0, Borrowed)
runpy.run_module("pip", run_name="__main__", alter_sys=True)
'

# pip_in FOLDER ARGUMENTS: pip, for the environment in that folder; after make_venv.
pip_in() {
    venv=$1
    shift
    case $pip_kind in
        option) "$python" -m pip --python "$venv/bin/python" "$@" ;;
        own) "$venv/bin/python" -m pip "$@" ;;
        borrowed)
            outside=$("$python" -c 'import os, pip; print(os.path.dirname(pip.__path__[0]))')
            "$venv/bin/python" -P -c "$borrow_pip" "$outside" "$@"
            ;;
    esac
}

# Each installed lock is copied to .venv, so that a later start only compares files.
is_installed() {
    [ -x .venv/bin/python ] && [ ! -e .venv/unfinished ] || return 1
    for lock in "$@"; do
        cmp -s "$lock" ".venv/$lock" || return 1
    done
}

is_broken() {
    [ -e .venv/unfinished ] || { [ -h .venv/bin/python ] && [ ! -x .venv/bin/python ]; }
}

# Whether a lock has changed since it was installed; packages that it no longer lists must go.
is_outdated() {
    for copy in .venv/*.lock; do
        if [ -e "$copy" ] && ! cmp -s "${copy#.venv/}" "$copy"; then return; fi
    done
    return 1
}

empty_venv() {
    rm -rf .venv/bin .venv/include .venv/lib .venv/lib64 .venv/share .venv/pyvenv.cfg .venv/*.lock
}

# Prints `--requirement LOCK` for each lock; their names contain no spaces.
requirements() { printf -- '--requirement %s ' "$@"; }

# Each lock is complete, so pip must not resolve dependencies: some versions would then require
# packages newer than the lock. `pip check` verifies the result. Only wheels are installed, because
# no lock has the build requirements of source distributions.
install_locks() {
    # shellcheck disable=SC2046 # splitting is what requirements() is for
    pip_in .venv install --quiet --quiet --disable-pip-version-check --no-deps --require-hashes \
        --only-binary :all: $(requirements "$@") ||
        fail "Installing $what with $python failed; pip's error is above. Check the network and" \
            'that this Python is not newer than the locks support, then run the command again.'
    conflicts=$(pip_in .venv check --disable-pip-version-check) ||
        fail "Installing $what with $python failed: its packages do not fit together." \
            "$conflicts" 'Please report this as a bug in the lock.'
}

install() {
    say "Installing $what into .venv (once, about a minute) …"
    if is_broken; then
        say 'The .venv here is incomplete or its Python is gone; recreating it.'
        empty_venv
    fi
    : >.venv/unfinished
    if is_outdated; then empty_venv; fi
    make_venv .venv
    install_locks "$@"
    cp -- "$@" .venv
    rm .venv/unfinished
}

# The kernel releases the lock when this process ends, however it ends.
hold_install_lock() {
    mkdir -p .venv
    exec 9>.venv/install-lock
    "$python" - <<'PYTHON' 9>&9 ||
import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("Waiting for another process that is installing …", file=sys.stderr, flush=True)
    fcntl.flock(9, fcntl.LOCK_EX)
PYTHON
        fail 'Cannot lock .venv/install-lock; see above.'
}

# ensure WHAT LOCK…: installs the locks unless they are installed already.
ensure() {
    what=$1
    shift
    if is_installed "$@"; then return; fi
    find_python
    hold_install_lock
    if ! is_installed "$@"; then install "$@"; fi
    exec 9>&-
}

# Whether the Kafka client is needed: by its command, or because brokers are configured.
uses_kafka() {
    [ "${1-} ${2-}" = 'events kafka' ] || [ -n "${KAFKA_BOOTSTRAP_SERVERS-}" ] ||
        { [ -e .env ] && grep -q '^KAFKA_BOOTSTRAP_SERVERS=.' .env; }
}

# Whether Dask is needed: by an option, or because runs read on its workers.
uses_dask() {
    case " $* " in *' --dask '* | *' --dask='*) return ;; esac
    [ -n "${DASK_SCHEDULER-}" ] || { [ -e .env ] && grep -q '^DASK_SCHEDULER=.' .env; }
}

# Whether OpenTelemetry is needed: because traces have a destination.
uses_traces() {
    [ -n "${OTEL_EXPORTER_OTLP_ENDPOINT-}" ] ||
        { [ -e .env ] && grep -q '^OTEL_EXPORTER_OTLP_ENDPOINT=.' .env; }
}

# shellcheck disable=SC2086 # the list is split into words on purpose, here and below
ensure_runtime() {
    what=Bucketline
    locks=requirements.lock
    if uses_kafka "$@"; then
        what="$what and its Kafka client"
        locks="$locks requirements-kafka.lock"
    fi
    if uses_dask "$@"; then
        what="$what and Dask"
        locks="$locks requirements-dask.lock"
    fi
    if uses_traces; then
        what="$what and OpenTelemetry"
        locks="$locks requirements-otel.lock"
    fi
    ensure "$what" $locks
}

tools='requirements.lock requirements-kafka.lock requirements-otel.lock requirements-dask.lock
    requirements-dev.lock'

# shellcheck disable=SC2086
ensure_tools() { ensure 'Bucketline and its test tools' $tools; }

# shellcheck disable=SC2086
has_tools() { is_installed $tools; }

# The benchmark's baseline tools and the servers of tests have environments of their own. They are not
# part of Bucketline: if they cannot be installed, their rows are empty, and their tests are skipped.

# install_apart FOLDER WHAT WITHOUT: installs FOLDER/requirements.txt into FOLDER/.venv.
install_apart() {
    say "Installing $2 into $1/.venv (once, a minute or two) …"
    rm -rf "$1/.venv"
    make_venv "$1/.venv"
    if pip_in "$1/.venv" install --quiet --quiet --disable-pip-version-check \
        --only-binary :all: --requirement "$1/requirements.txt"; then
        cp "$1/requirements.txt" "$1/.venv"
    else
        rm -rf "$1/.venv"
        say "Not installed; see pip's output above. $3"
    fi
}

# ensure_apart FOLDER WHAT WITHOUT
ensure_apart() {
    if cmp -s "$1/requirements.txt" "$1/.venv/requirements.txt"; then return; fi
    find_python
    hold_install_lock
    if ! cmp -s "$1/requirements.txt" "$1/.venv/requirements.txt"; then install_apart "$@"; fi
    exec 9>&-
}

ensure_baselines() {
    ensure_apart bench 'the baseline tools of the benchmark' 'Their rows will be empty.'
}

ensure_servers() {
    if [ ! -e tests/servers/requirements.txt ]; then return; fi
    ensure_apart tests/servers 'the servers of the tests' 'Their tests will be skipped.'
}

# --- the commands ----------------------------------------------------------------------------

wants_help() { [ "${1-}" = -h ] || [ "${1-}" = --help ]; }

# takes_none COMMAND [ARGUMENTS]: rejects arguments other than --help.
takes_none() {
    if [ $# -eq 1 ]; then return; fi
    if [ $# -eq 2 ] && wants_help "$2"; then show_help; exit; fi
    say "$1 takes no arguments, but was given '$2'; see ./run.sh --help."
    exit 2
}

# The tests in tests/browser need Chromium. As root on Debian it is installed. Elsewhere these tests
# are skipped, or fail if CI is set.
ensure_browser() {
    if [ ! -d tests/browser ] || command -v chromium >/dev/null; then return; fi
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then return; fi
    say 'Installing Chromium for the tests in tests/browser (once, about a minute) …'
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends \
        chromium fonts-dejavu-core; } >&2 || say 'Not installed; see the messages of apt-get above.'
}

# --help shows pytest's help, but installs nothing for it.
run_tests() {
    if wants_help "$@" && ! has_tools; then
        show_help
        echo "The arguments of test are pytest's. Once pytest is installed, --help shows them."
        exit
    fi
    ensure_tools
    if ! wants_help "$@"; then
        ensure_browser
        ensure_servers
    fi
    exec .venv/bin/python -m pytest -p tests.callers_paths -n auto --maxprocesses 4 --dist worksteal "$@"
}

# Runs every linter, even after one has failed.
lint() {
    takes_none lint "$@"
    ensure_tools
    result=0
    .venv/bin/python -m ruff check || result=1
    .venv/bin/python -m ruff format --check || result=1
    .venv/bin/python -m mypy || result=1
    .venv/bin/python -c 'from importlinter.cli import lint_imports_command; lint_imports_command()' || result=1
    exit "$result"
}

# A report is written from earlier measurements, so it does not need the baseline tools.
run_bench() {
    ensure_runtime --dask
    case " $* " in *' --report '* | *' --help '*) ;; *) ensure_baselines ;; esac
    exec .venv/bin/python -m bench "$@"
}

random_hex() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

end_last_line() { [ -z "$(tail -c 1 "$1")" ] || echo >>"$1"; }

# Writes passwords for docker-compose.yml to .env, and keeps those that it already has.
write_secrets() {
    takes_none secrets "$@"
    : >>.env
    chmod 600 .env
    end_last_line .env
    for name in POSTGRES_PASSWORD MINIO_ROOT_PASSWORD WEBHOOK_TOKEN; do
        if grep -q "^$name=." .env; then
            say "$name is in .env already."
        else
            printf '%s=%s\n' "$name" "$(random_hex)" >>.env
            say "Wrote $name to .env."
        fi
    done
}

# Printed by the launcher, so that --help works before anything is installed.
show_help() {
    cat <<'HELP'
Usage: ./run.sh COMMAND [ARGUMENTS]

Sync files and images from buckets into PostgreSQL tables. The first use
installs what is needed into .venv.

  up          Start everything and run it until Ctrl-C.
  run         Make one full run now and print its report.
  images      Process pending images and create their thumbnails now.
  seed        Upload folders and files, or the sample data/src.
  status      Say how everything is, and what needs attention.
  runs        List the runs, show one by its ID, or cancel one.
  watch       Show the state and the active run until Ctrl-C.
  rows        Print rows of a dataset, ordered by key.
  problems    List the open problems of objects, each with a hint.
  shadowed    List rows that lost to another row with the same key.
  check       Print the problems that a run would find in local files.
  replay      Read some objects again and make a run.
  datasets    List, guess, check and install the datasets of datasets.toml.
  verify      Read the buckets again and print the differences.
  doctor      Try what the object store can do: doctor --store.
  env         Print export lines for the running stack: psql, aws and curl.
  keys        Create, list and revoke API keys.
  completion  Print a script for completion in bash, zsh or fish.
  schedule    Make runs on the interval, on request and for events.
  serve       Serve the HTTP API until Ctrl-C.
  events      Receive bucket notifications and manage subscriptions.
  alert       List the open incidents and the last alerts, or try ALERT_URL.
  migrate     Migrate the tables to the newest version; create the buckets.

  test        Run the tests; ARGUMENTS are those of pytest.
  lint        Run ruff, mypy and import-linter.
  bench       Measure performance against targets and baselines; --quick or --full.
  secrets     Write passwords for docker compose into .env.

./run.sh COMMAND --help shows the options of a command.
HELP
}

# A shell asks what can be entered, see `./run.sh completion`; nothing is installed for that.
complete() {
    if [ ! -x .venv/bin/python ]; then exit; fi
    exec .venv/bin/python -m etl
}

main() {
    if [ -n "${_BUCKETLINE_COMPLETE-}" ]; then complete; fi
    case ${1-} in
        '') show_help ;;
        help | -h | --help) takes_none "$@"; show_help ;;
        test) shift; run_tests "$@" ;;
        lint) shift; lint "$@" ;;
        bench) shift; run_bench "$@" ;;
        secrets) shift; write_secrets "$@" ;;
        *) ensure_runtime "$@"; exec .venv/bin/python -m etl "$@" ;;
    esac
}

# Everything below runs in Bucketline's folder, where .env and .local are. The program resolves the
# paths in its arguments against the caller's folder, which is passed in a variable.
here=$(own_folder "$0")
unset BUCKETLINE_CALLERS_FOLDER
if [ "$here" != "$(pwd -P)" ]; then export BUCKETLINE_CALLERS_FOLDER="$PWD"; fi
export BUCKETLINE_PROGRAM="${BUCKETLINE_PROGRAM:-./run.sh}"
cd -- "$here"
main "$@"
