FROM node:24-bookworm-slim AS dependencies
ENV NPM_CONFIG_AUDIT=false NPM_CONFIG_FUND=false NPM_CONFIG_UPDATE_NOTIFIER=false
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts

FROM dependencies AS build
COPY tsconfig.json ./
COPY src ./src
RUN npm run build
# Where there is no shell and no env, the command needs a first line of its own.
RUN printf '#!/nodejs/bin/node\nimport("/app/dist/main.js");\n' > expiry-relay && chmod 755 expiry-relay

# Beside the build and not after it, so that an edit of src leaves this layer cached. The modes are
# set because those that the files have where the image is built must not decide who reads them.
FROM dependencies AS production
COPY LICENSE ./
RUN npm prune --omit=dev --ignore-scripts && chmod -R u=rwX,go=rX .

FROM gcr.io/distroless/nodejs24-debian12:nonroot
LABEL org.opencontainers.image.title="expiry-relay" \
      org.opencontainers.image.description="A signed webhook for every Redis key that expires." \
      org.opencontainers.image.licenses="MIT"
# Names are looked up on libuv's threads; the default of 4 is few where many names do not resolve.
ENV NODE_ENV=production UV_THREADPOOL_SIZE=16
WORKDIR /app
# Everything stays root's: the user below reads it and writes nowhere.
COPY --from=production /app/package.json /app/LICENSE ./
COPY --from=production /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
# For `docker exec relay expiry-relay dead list`.
COPY --from=build /app/expiry-relay /usr/local/bin/
# A number, since Kubernetes' runAsNonRoot cannot judge a name.
USER 65532

# /livez on admin.listen of the file that `run` finds by itself. A file elsewhere is best named by
# EXPIRY_RELAY_CONFIG, which both see; this command does not see the -c of `run`.
HEALTHCHECK --interval=30s --timeout=10s --start-period=15s --retries=3 \
  CMD ["/nodejs/bin/node", "/app/dist/main.js", "healthcheck"]

# SIGTERM lets attempts under way end within shutdown.grace (25s), but `docker stop` kills after
# 10 s: give it longer with `docker run --stop-timeout 30`, or `stop_grace_period: 30s` in Compose.
STOPSIGNAL SIGTERM
# Little data outlives a request: with the default of 16 MB, Node keeps some 25 MB more. A scavenge copies so
# little that sharing it among threads costs more CPU than it saves.
ENTRYPOINT ["/nodejs/bin/node", "--max-semi-space-size=8", "--no-parallel-scavenge", "/app/dist/main.js"]
CMD ["run"]
