#!/bin/sh
# Builds the image, starts the containers of docker-compose.yml from it and waits until the API is
# healthy. Creates passwords on first use. Passes its arguments to `docker compose up`.
# Exits: 0 healthy, 1 not healthy within two minutes (see the last logs), 2 no Docker.
set -eu
cd -- "$(dirname -- "$0")/.."

docker compose version >/dev/null 2>&1 || {
    echo 'docker compose is not installed. Install Docker, or use ./run.sh up, which does not need it.' >&2
    exit 2
}
./run.sh secrets
docker compose up --build --detach --remove-orphans "$@"

url=${API_URL-http://127.0.0.1:5000}
tries=60
until bin/health-check.sh "$url" >/dev/null 2>&1; do
    tries=$((tries - 1))
    if [ "$tries" = 0 ]; then
        bin/health-check.sh "$url" || true
        docker compose logs --tail 50 >&2
        exit 1
    fi
    sleep 2
done
bin/health-check.sh "$url"
