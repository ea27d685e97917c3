# syntax=docker/dockerfile:1
# Two stages: the first builds what runs, the second runs it, as nobody in particular.

FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/switchboard
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
COPY auth_server ./auth_server
RUN /opt/switchboard/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --create-home --home-dir /home/switchboard switchboard
COPY --from=build /opt/switchboard /opt/switchboard
ENV PATH=/opt/switchboard/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    PORT=3232 \
    LOG_FORMAT=json
USER switchboard
WORKDIR /home/switchboard
EXPOSE 3232
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=2s --start-period=10s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/healthz\", timeout=2)"]
ENTRYPOINT ["switchboard"]
CMD ["serve"]
