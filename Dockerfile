# The router as an image: a locked virtual environment, non-root, fit for a read-only root file system.
# Build: docker build -t incident-router:0.1.0 .
# With a package index of your own: docker build --secret id=pip.conf,src=$HOME/.config/pip/pip.conf ...

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
WORKDIR /src
RUN python -m venv /opt/router
# The lock before the code, so that a change of code does not install everything anew.
COPY requirements.lock ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    /opt/router/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY router ./router
# No isolation: the build uses the setuptools of the lock. What only builds is then taken away.
RUN /opt/router/bin/pip install --no-deps --no-build-isolation . \
    && /opt/router/bin/pip uninstall -y setuptools pip

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="incident-router" \
      org.opencontainers.image.description="Alert and incident router that names the deploy behind the page" \
      org.opencontainers.image.licenses="Apache-2.0"
# The numeric id is what Kubernetes' runAsNonRoot can check; it needs no entry in /etc/passwd.
RUN install -d -o 65532 -g 65532 -m 0750 /data
COPY --from=build /opt/router /opt/router
COPY rules /etc/incident-router/rules
ENV PATH=/opt/router/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ROUTER_LISTEN=0.0.0.0:8080 \
    ROUTER_DATA_DIR=/data \
    ROUTER_RULES=/etc/incident-router/rules \
    ROUTER_LOG_FORMAT=json
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
# -I: nothing in the working directory can be imported. No proxy: an http_proxy in the environment is not for loopback.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 CMD ["python", "-I", "-c", "\
import os, urllib.request as r; \
port = os.environ['ROUTER_LISTEN'].rpartition(':')[2]; \
r.build_opener(r.ProxyHandler({})).open(f'http://127.0.0.1:{port}/-/healthy', timeout=2)"]
ENTRYPOINT ["router"]
CMD ["serve"]
