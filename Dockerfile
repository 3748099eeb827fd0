# Two stages: the build has compilers, the image that runs has one binary and no root. Needs BuildKit (Docker 23 or newer).
#
# Images are what their digests name, those of the lists for all architectures; versions are for people. Of another version,
# `docker buildx imagetools inspect debian:12.12-slim` tells it.

FROM rust:1.95.0-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS build
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

FROM debian:12.12-slim@sha256:d5d3f9c23164ea16f31852f95bd5959aad1c5e854332fe00f7b3a20fcc9f635c
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
