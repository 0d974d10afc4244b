# The control plane. From the root of the checkout: docker build -f infra/control-plane.Dockerfile -t multiboard-sync-control-plane .
# There is no build step: Node runs the TypeScript as it is, outside of node_modules (so never by `pnpm deploy`).

FROM node:24-bookworm-slim AS packages
WORKDIR /app
# What decides which packages are installed, before the code: a change of code reuses what is installed.
COPY package.json pnpm-lock.yaml pnpm-workspace.yaml ./
COPY agent/package.json agent/
COPY control-plane/package.json control-plane/
COPY shared/package.json shared/
# Optional packages are servers for tests.
RUN npx --yes pnpm@12.21.0 install --prod --no-optional --frozen-lockfile --filter '@multiboard-sync/control-plane...'

# The same Debian without npm, yarn and pnpm: Node, the packages and the code are all there is.
FROM debian:bookworm-slim
RUN groupadd --gid 10001 multiboard-sync \
  && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin multiboard-sync
COPY --from=packages /usr/local/bin/node /usr/local/bin/node
WORKDIR /app
COPY --from=packages /app ./
COPY shared/src shared/src
COPY control-plane/openapi.json control-plane/
COPY control-plane/src control-plane/src

# Writes to its database and nowhere else: the file system may be read-only.
ENV HOST=0.0.0.0 \
  PORT=8787
EXPOSE 8787
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/healthz`, { signal: AbortSignal.timeout(5000) }).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# Exec form: SIGTERM reaches Node itself.
ENTRYPOINT ["node"]
CMD ["control-plane/src/node.ts"]
