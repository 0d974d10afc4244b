# The agent. From the root of the checkout: docker build -f infra/agent.Dockerfile -t multiboard-sync-agent .
# There is no build step: Node runs the TypeScript as it is, outside of node_modules (so never by `pnpm deploy`).

FROM node:24-bookworm-slim AS packages
WORKDIR /app
# What decides which packages are installed, before the code: a change of code reuses what is installed.
COPY package.json pnpm-lock.yaml pnpm-workspace.yaml ./
COPY agent/package.json agent/
COPY control-plane/package.json control-plane/
COPY shared/package.json shared/
# Optional packages are servers for tests.
RUN npx --yes pnpm@12.21.0 install --prod --no-optional --frozen-lockfile --filter '@multiboard-sync/agent...'

# The same Debian without npm, yarn and pnpm: Node, the packages and the code are all there is.
FROM debian:bookworm-slim
RUN groupadd --gid 10001 multiboard-sync \
  && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin multiboard-sync \
  && install -d -o 10001 -g 10001 -m 0700 /var/lib/multiboard-sync /var/cache/multiboard-sync
COPY --from=packages /usr/local/bin/node /usr/local/bin/node
WORKDIR /app
COPY --from=packages /app ./
COPY shared/src shared/src
COPY agent/src agent/src

# Written to: the state and the compile cache, a volume each. The rest may be read-only.
ENV AGENT_CONFIG=/etc/multiboard-sync/agent.yaml \
  TRUST_FILE=/etc/multiboard-sync/trust.json \
  AGENT_STATE_DIR=/var/lib/multiboard-sync \
  AGENT_KEY_FILE=/var/lib/multiboard-sync/agent.key.json \
  NODE_COMPILE_CACHE=/var/cache/multiboard-sync \
  MALLOC_ARENA_MAX=2
USER 10001:10001
HEALTHCHECK --interval=60s --timeout=30s --start-period=90s --retries=3 CMD ["node", "agent/src/main.ts", "health"]
# Exec form: SIGTERM and SIGHUP reach Node itself. The flags are those of `pnpm agent` in package.json.
ENTRYPOINT ["node", "--max-semi-space-size=4", "--expose-gc", "--liftoff-only", "agent/src/main.ts"]
CMD ["run"]
