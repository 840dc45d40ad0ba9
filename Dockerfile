# The host with the movie system's components.
FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
RUN rustup target add wasm32-wasip2 \
 && scripts/components \
 && cargo build --locked --release -p marquee \
 && strip target/release/marquee

FROM debian:12.12-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/marquee --create-home marquee
WORKDIR /app
COPY --from=build /src/target/release/marquee /usr/local/bin/marquee
COPY --from=build /src/target/wasm32-wasip2/guest/*.wasm target/wasm32-wasip2/guest/
COPY spin.toml ./
COPY migrations migrations
USER 10001
# The admin listener stays on the container's loopback, unless it is told otherwise and has a token.
ENV MARQUEE_LISTEN=0.0.0.0:3000 MARQUEE_ADMIN_LISTEN=127.0.0.1:3001 MARQUEE_DATA=/var/lib/marquee
EXPOSE 3000
STOPSIGNAL SIGTERM
ENTRYPOINT ["marquee"]
CMD ["up"]
