# syntax=docker/dockerfile:1
# Headwater on a CPU. Build it with BuildKit (docker build, docker buildx), for amd64 or arm64.
#
#   TORCH_INDEX   where torch comes from, and nothing else: PyTorch's own index has builds without CUDA
#   EXTRAS        extras of the package, separated by commas: embedded, evaluate
#   VERSION, REVISION, CREATED   for the labels
#
# Where things are in a container that runs, with the root file system read-only if you like:
#   /etc/headwater/headwater.yaml   the settings: mount yours
#   /var/lib/headwater              state: a volume
#   /run/headwater                  live weights and sockets, in live/: a tmpfs, shared by learner and API
#   /tmp                            HOME, temporary files, kernels that the image lacks: a tmpfs

FROM python:3.11-slim AS base
ENV PATH=/opt/headwater/bin:$PATH

# Kernels are compiled below for a kind of processor, not for the one that builds: every start of
# the image finds them. x86-64-v3 is any since 2013 (Haswell, Excavator); others stop with SIGILL.
FROM base AS cpu-amd64
ENV NUMBA_CPU_NAME=x86-64-v3 NUMBA_CPU_FEATURES=""

FROM base AS cpu-arm64
ENV NUMBA_CPU_NAME=generic NUMBA_CPU_FEATURES=""

# hadolint ignore=DL3006
FROM cpu-${TARGETARCH} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# first what changes rarely: all that the package needs, with nothing in the package yet
COPY constraints.txt pyproject.toml LICENSE ./
COPY service/__init__.py service/
# torch alone, without what it needs: that, and everything else, is PyPI's
RUN touch README.md \
    && python -m venv /opt/headwater \
    && pip install --no-deps --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)" \
    && pip install --no-deps "$(grep '^setuptools==' constraints.txt)" \
    && pip install --no-build-isolation -c constraints.txt ".${EXTRAS:+[$EXTRAS]}" \
    && rm -r /opt/headwater/lib/python3.11/site-packages/torch/include \
             /opt/headwater/lib/python3.11/site-packages/torch/test
COPY README.md ./
COPY service service
RUN pip install --no-build-isolation --no-deps --force-reinstall . \
    && headwater compile-kernels

# hadolint ignore=DL3006
FROM cpu-${TARGETARCH}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="Headwater" \
      org.opencontainers.image.description="Learns online from a Kafka topic and answers predictions from the live weights." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
# a tmpfs that is mounted on /run/headwater is root's, and takes the mode of the folder
RUN groupadd --gid 10001 headwater \
    && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin headwater \
    && install -d -o headwater -g headwater /var/lib/headwater \
    && install -d -m 1777 /run/headwater \
    && install -d /etc/headwater
COPY --from=build /opt/headwater /opt/headwater
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    NUMBA_CACHE_DIR=/tmp/kernels \
    NUMBA_CACHE_LOCATOR_CLASSES=service.kernel_cache.ShippedLocator \
    HEADWATER_CONFIG=/etc/headwater/headwater.yaml \
    HEADWATER_STATE__DIRECTORY=/var/lib/headwater \
    HEADWATER_RUNTIME__DIRECTORY=/run/headwater/live
USER 10001:10001
WORKDIR /var/lib/headwater
VOLUME /var/lib/headwater
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["headwater", "healthcheck"]
ENTRYPOINT ["headwater"]
CMD ["run"]
