# The host with the movie system's components, and a list of all that they are made of.
#
#   docker build -t marquee:local .
#
# It begins with these two images; others (a mirror's, a firm's own) by --build-arg.
ARG RUST_IMAGE=rust:1.95.0-bookworm
ARG DEBIAN_IMAGE=debian:12.12-slim

# What was fetched and compiled stays with the engine from build to build; what is kept of it goes to /out.
FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY rust-toolchain.toml .
RUN rustup target add wasm32-wasip2
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    scripts/components \
 && cargo build --locked --release -p marquee \
 && install -D -s target/release/marquee /out/usr/local/bin/marquee \
 && install -D -m 644 -t /out/app/target/wasm32-wasip2/guest target/wasm32-wasip2/guest/*.wasm \
 && cp -r spin.toml migrations /out/app/

FROM ${RUST_IMAGE} AS sbom
WORKDIR /src
COPY scripts/sbom scripts/
RUN --mount=type=cache,target=/usr/local/cargo/registry scripts/sbom --install
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry scripts/sbom /out/usr/share/marquee/sbom

FROM ${DEBIAN_IMAGE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/*.log \
 && useradd --system --uid 10001 --home-dir /var/lib/marquee --create-home marquee
COPY --from=build /out /
COPY --from=sbom /out /
WORKDIR /app
USER 10001
# The admin listener stays on the container's loopback, unless it is told otherwise and has a token.
ENV MARQUEE_LISTEN=0.0.0.0:3000 MARQUEE_ADMIN_LISTEN=127.0.0.1:3001 MARQUEE_DATA=/var/lib/marquee
LABEL org.opencontainers.image.title=Marquee org.opencontainers.image.licenses=Apache-2.0
EXPOSE 3000
STOPSIGNAL SIGTERM
# Migrations and compiling come before it is ready.
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=3 CMD ["marquee", "health"]
ENTRYPOINT ["marquee"]
CMD ["up"]
