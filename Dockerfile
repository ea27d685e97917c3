# syntax=docker/dockerfile:1
# `docker build .`                     Switchboard alone: a slim Python, as nobody in particular
# `docker build --target backends .`   the same, with what servers behind it are started with: Node (npx), uv (uvx) and git
# Met: hadolint, and the rules of tests/project/test_dockerfile.py. Not met: a build; no Docker runs where the tests do.

FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/switchboard
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
COPY auth_server ./auth_server
RUN /opt/switchboard/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM node:24-slim AS node

FROM python:3.13-slim AS alone
RUN useradd --system --uid 10001 --create-home --home-dir /home/switchboard switchboard
COPY --from=build /opt/switchboard /opt/switchboard
ENV PATH=/opt/switchboard/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    PORT=3232 \
    LOG_FORMAT=json
# By number, so that an orchestrator can tell that it is not root.
USER 10001
WORKDIR /home/switchboard
EXPOSE 3232
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=2s --start-period=10s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/healthz\", timeout=2)"]
ENTRYPOINT ["switchboard"]
CMD ["serve"]

FROM alone AS backends
USER 0
# What Debian has is what its security updates are for: no version is pinned.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates git \
 && rm -rf /var/lib/apt/lists/* \
 && mkdir --mode=0700 /var/cache/switchboard \
 && chown 10001 /var/cache/switchboard
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
COPY constraints.txt /tmp/constraints.txt
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
 && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx \
 && /opt/switchboard/bin/pip install --no-cache-dir --constraint /tmp/constraints.txt uv \
 && rm /tmp/constraints.txt
# What is installed for servers outlives the container where a volume is here; npm and uv keep theirs beside it.
ENV CACHE_DIR=/var/cache/switchboard \
    NPM_CONFIG_CACHE=/var/cache/switchboard/npm \
    UV_CACHE_DIR=/var/cache/switchboard/uv
VOLUME /var/cache/switchboard
USER 10001

FROM alone
