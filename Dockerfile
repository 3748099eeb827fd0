# syntax=docker/dockerfile:1
# Two stages: the build has compilers, the image that runs has one binary and no root.
#
# Images are named by their full versions. Who wants them byte for byte pins them by digest, as
# `docker buildx imagetools inspect debian:12.12-slim` tells it: FROM debian:12.12-slim@sha256:...

FROM rust:1.95.0-bookworm AS build
# The programs that `make` would install as a person's machine needs them; here they are a cached layer.
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ make perl pkg-config \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The build folder and the registry outlive the build, so only what changed is compiled again.
RUN --mount=type=cache,target=/cache,sharing=locked \
    --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    CARGO_TARGET_DIR=/cache make release \
 && install -D /cache/release/twofold /out/twofold

FROM debian:12.12-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -m 700 -o 10001 -g 10001 /data
COPY --from=build /out/twofold /usr/local/bin/twofold
COPY examples /examples
# By number, so that an orchestrator sees that it is not root. Nothing outside of /data and /tmp is written: the root may be
# read-only, and no capability is needed.
USER 10001:10001
WORKDIR /data
# It listens for others, so it starts only once it is told who may ask: TWOFOLD_ACCESS__MODE (docs/operations.md, "Access").
ENV TWOFOLD_SYSTEM__DATA_DIR=/data \
    TWOFOLD_SYSTEM__LISTEN=0.0.0.0:8080 \
    TWOFOLD_PIPELINE=/examples/demo/pipeline.sql
EXPOSE 8080
VOLUME /data
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=6 CMD ["twofold", "health"]
# The listener must be ended in order: SIGTERM is what it waits for, and docker's default.
ENTRYPOINT ["twofold"]
CMD ["up"]
