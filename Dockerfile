# syntax=docker/dockerfile:1
# One image, every plane: `docker run trustgate proxy`. For amd64 and arm64; there is a wheel of everything for both.
ARG PYTHON=3.13-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/trustgate
# what is needed first, so that a change of the code does not bring it anew
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY scripts/requirements.py scripts/
RUN python scripts/requirements.py > requirements.txt \
 && /opt/trustgate/bin/pip install --only-binary :all: -c constraints.txt -r requirements.txt
COPY migrations migrations
COPY trustgate trustgate
COPY plugins plugins
RUN /opt/trustgate/bin/pip install --no-deps . \
 && /opt/trustgate/bin/pip uninstall -y pip \
 && find /opt/trustgate -name __pycache__ -prune -exec rm -rf {} + \
 && /opt/trustgate/bin/python -m compileall -q /opt/trustgate/lib

FROM python:${PYTHON}
ARG VERSION=""
LABEL org.opencontainers.image.title="TrustGate" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# nothing here is written to but the data folder, so that the root may be read-only
RUN groupadd --system --gid 65532 trustgate \
 && useradd --system --uid 65532 --gid 65532 --home-dir /var/lib/trustgate --create-home trustgate
COPY --from=build /opt/trustgate /opt/trustgate
ENV PATH=/opt/trustgate/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    APP_ENV=production \
    APPLICATION_VERSION=${VERSION} \
    TRUSTGATE_DATA_DIR=/var/lib/trustgate
USER 65532:65532
WORKDIR /var/lib/trustgate
VOLUME /var/lib/trustgate
EXPOSE 8080 8081 8082
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["trustgate", "healthy"]
ENTRYPOINT ["trustgate"]
CMD ["run"]
