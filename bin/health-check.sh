#!/bin/sh
# Asks a running Bucketline whether it is well: bin/health-check.sh [URL], or API_URL, or the
# API that `./run.sh up` has running here. A key, if it wants one, comes from API_KEY.
# Exits: 0 well, 1 degraded or down (its answers say why), 2 wrong use, 3 no answer at all.
set -eu
cd -- "$(dirname -- "$0")/.."

usage() {
    echo 'usage: bin/health-check.sh [URL]      such as http://127.0.0.1:5000' >&2
    exit 2
}

[ $# -le 1 ] || usage
url=${1-${API_URL-}}
if [ -z "$url" ]; then
    url=$(./run.sh env 2>/dev/null | sed -n "s/^export API_URL='\{0,1\}\([^']*\)'\{0,1\}$/\1/p")
    [ -n "$url" ] || url=http://127.0.0.1:5000
fi
case $url in
    http://* | https://*) ;;
    *) usage ;;
esac
url=${url%/}

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
trap 'exit 1' HUP INT TERM

# Sets `status`, and ends when nobody answers.
ask() {
    status=$(curl --silent --show-error --max-time 10 --output "$answer" \
        ${API_KEY:+--header "X-API-Key: $API_KEY"} --write-out '%{http_code}' "$url$1") || {
        echo "$url$1 does not answer. Is it up? ./run.sh up starts it." >&2
        exit 3
    }
}

result=0
ask /health
echo "GET /health: $status"
cat "$answer"
grep -q '^{"status": *"ok"' "$answer" || result=1
ask /storage/health
echo "GET /storage/health: $status"
cat "$answer"
[ "$status" = 200 ] || result=1
exit "$result"
