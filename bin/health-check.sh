#!/bin/sh
# Checks the health of a running Bucketline: bin/health-check.sh [URL]. The default is API_URL, or
# the API of the `./run.sh up` in this folder. The API key, if required, is read from API_KEY.
# Exits: 0 healthy, 1 degraded or down (see the responses), 2 wrong use, 3 no response.
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

# Sets `status`; exits if there is no response.
ask() {
    status=$(curl --silent --show-error --max-time 10 --output "$answer" \
        ${API_KEY:+--header "X-API-Key: $API_KEY"} --write-out '%{http_code}' "$url$1") || {
        echo "$url$1 does not respond. If Bucketline is not running, start it: ./run.sh up" >&2
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
