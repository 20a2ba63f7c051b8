# A worker's image: imagehaul and what it stands on, without compilers, as a user of its own. No key is in it: keys come
# from the store's block, or from the environment of the container.
#
#   docker build -t imagehaul .
#   docker run --rm -e PREFECT_API_URL=http://prefect:4200/api imagehaul
FROM python:3.13-slim AS built
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY imagehaul imagehaul
COPY flows flows
COPY blocks blocks
COPY prefect.yaml automations.yaml ./
# The lock has what developers need besides: as constraints, it gives the versions alone.
RUN python -m venv /opt/imagehaul \
 && sed -nE 's/^([A-Za-z0-9._-]+)(\[[^]]*\])?(==[^\\]*).*$/\1\3/p' requirements.lock > constraints.txt \
 && /opt/imagehaul/bin/pip install --no-cache-dir -c constraints.txt . \
 && find /opt/imagehaul -name __pycache__ -prune -exec rm -rf {} +

FROM python:3.13-slim
COPY --from=built /opt/imagehaul /opt/imagehaul
# What `imagehaul deploy` reads, when it is run in this image.
COPY prefect.yaml automations.yaml /etc/imagehaul/
RUN useradd --system --create-home --home-dir /var/lib/imagehaul --uid 10001 imagehaul
USER 10001
WORKDIR /var/lib/imagehaul
ENV PATH=/opt/imagehaul/bin:$PATH \
    HOME=/var/lib/imagehaul \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_LOGGING_EXTRA_LOGGERS=imagehaul
EXPOSE 8080
# The worker's own health: it fails when the worker has not polled its pool for a while.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health', timeout=4)"]
CMD ["prefect", "worker", "start", "--pool", "imagehaul", "--type", "process", "--with-healthcheck"]
