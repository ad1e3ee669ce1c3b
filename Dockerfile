# Three images from one file: `docker build --target scheduler|worker|dashboard .`
#
# Everything that pip installs is locked by hash (requirements/). Nothing runs as root, and nothing is written
# outside /tmp and /var/log/kuber-cron, so a read-only root works. No BuildKit front end is fetched.
ARG PYTHON_IMAGE=python:3.13-slim-trixie

# --- what is copied into the images ---------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS build-tiers
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN python3 -m venv /opt/kuber-cron \
 && /opt/kuber-cron/bin/pip install --quiet --require-hashes --no-compile -r requirements/runtime.txt \
 && python3 -m venv /opt/build \
 && /opt/build/bin/pip install --quiet --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY common common
COPY control control
COPY scheduler scheduler
COPY worker worker
COPY cli cli
# The wheel comes from the locked back end, never from one that pip would fetch for itself. kubernetes.aio, a
# second copy of the client for asyncio, is a third of the image, and nothing here imports it.
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/kuber-cron/bin/pip install --quiet --no-deps --no-compile /wheels/*.whl \
 && /opt/kuber-cron/bin/pip uninstall --quiet --yes pip \
 && rm -rf /opt/kuber-cron/lib/python3*/site-packages/kubernetes/aio \
 && /opt/kuber-cron/bin/python -m compileall -q -j 0 /opt/kuber-cron/lib

FROM ${PYTHON_IMAGE} AS build-dashboard
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements/dashboard.txt /source/requirements/
# The page of workers asks RQ for its own default, pickle, whatever rq-dashboard was told: what is added to
# RQ's module makes that JSON too.
RUN python3 -m venv /opt/rq-dashboard \
 && /opt/rq-dashboard/bin/pip install --quiet --require-hashes --no-compile -r /source/requirements/dashboard.txt \
 && printf '%s\n' 'import os' \
      'if os.environ.get("RQ_DASHBOARD_JSON_SERIALIZER") == "true":' \
      '    DefaultSerializer = PickleSerializer = SERIALIZER_ALIASES["pickle"] = JSONSerializer' \
      >> "$(/opt/rq-dashboard/bin/python -c 'import rq.serializers as s; print(s.__file__)')" \
 && /opt/rq-dashboard/bin/pip uninstall --quiet --yes pip \
 && /opt/rq-dashboard/bin/python -m compileall -q -j 0 /opt/rq-dashboard/lib

# --- what all three have --------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS base
# A number, so that Kubernetes can see that it is not root. The directories are the volumes' mount points: a
# new named volume takes their owner over.
RUN groupadd --gid 10001 kuber-cron \
 && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin kuber-cron \
 && install -d -o 10001 -g 10001 /var/log/kuber-cron \
 && install -d /app/config
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 10001:10001
LABEL org.opencontainers.image.title="Kuber-Cron" \
      org.opencontainers.image.description="The cron that never loses a run, never doubles one, and can always say why." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"

FROM base AS tier
COPY --from=build-tiers /opt/kuber-cron /opt/kuber-cron
# At the end: what people schedule finds the system's python3 first.
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/kuber-cron/bin
EXPOSE 8000
# Alive, not ready: a standby, or a worker whose Redis is away, must not be restarted. Kubernetes has probes
# of its own and ignores this.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["/opt/kuber-cron/bin/python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('KUBER_CRON_METRICS_PORT', '8000') + '/livez', timeout=4)"]
# As process 1 it hands signals on and waits for orphans itself (cli/process/init_process.py): no tini.
ENTRYPOINT ["kuber-cron"]

# --- the three ------------------------------------------------------------------------------------------
FROM tier AS scheduler
CMD ["scheduler"]

# Commands need programs: psql, mariadb (mysql), isql with the ODBC drivers of PostgreSQL and MariaDB, curl, jq.
FROM tier AS worker
USER 0:0
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      curl jq mariadb-client odbc-mariadb odbc-postgresql postgresql-client unixodbc >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/debconf/* /var/log/apt /var/log/dpkg.log \
 && install -d -o 10001 -g 10001 /work
# Where commands start; a volume, if they are to write there.
WORKDIR /work
USER 10001:10001
CMD ["worker"]

# rq-dashboard reads our runs as JSON and never as pickle: with pickle one of our results is an error page, and
# whoever can write to Redis runs code in the dashboard. The variable is read by its application, not by its
# command line, so it is served by gunicorn.
FROM base AS dashboard
COPY --from=build-dashboard /opt/rq-dashboard /opt/rq-dashboard
ENV RQ_DASHBOARD_JSON_SERIALIZER=true \
    RQ_DASHBOARD_URL_PREFIX="" \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/rq-dashboard/bin
EXPOSE 9181
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["/opt/rq-dashboard/bin/python", "-c", "import socket; socket.create_connection(('127.0.0.1', 9181), 4)"]
ENTRYPOINT ["gunicorn", "--bind=0.0.0.0:9181", "--threads=4", "--worker-tmp-dir=/dev/shm", "--no-control-socket", "rq_dashboard.app:create_app()"]
