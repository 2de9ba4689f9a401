#!/bin/sh
# Builds the image and brings the containers of docker-compose.yml to it, then waits until the
# API is well. Passwords are made on first use. Arguments go to `docker compose up`.
# Exits: 0 deployed and well, 1 not well within two minutes (the last logs say why), 2 no Docker.
set -eu
cd -- "$(dirname -- "$0")/.."

docker compose version >/dev/null 2>&1 || {
    echo 'docker compose is not here. Install Docker, or use ./run.sh up, which needs none.' >&2
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
