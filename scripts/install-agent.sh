#!/usr/bin/env bash
#
# Installs the agent on this machine as a service, or brings it to another release. For Debian, Ubuntu and their like.
#
# Promises: the release that runs stays until the next one is whole on the disk and accepts the configuration; a release
# that is not well in time is replaced by the one before it, by itself. Doing the same again changes and restarts nothing.
# A connection that breaks before the switch leaves everything as it was; after it, the switch is carried to its end.
# Never: overwrites agent.env, agent.yaml, trust.json or a key; prints or sends what is in them; downloads anything but
# Debian's npm and, from the registry that npm is set to, what pnpm-lock.yaml names and Node (checked against its hash).
set -euo pipefail

UNIT=multiboard-sync-agent.service
# Doctor asks every database; one that does not answer must not hold an upgrade.
DOCTOR_SECONDS=120

# Everything lies below this folder, `/` when it is empty. For trying it out: no user is made, root is not needed.
PREFIX=${MBS_PREFIX:-}
APP=$PREFIX/opt/multiboard-sync
ETC=$PREFIX/etc/multiboard-sync
STATE=$PREFIX/var/lib/multiboard-sync
UNITS=$PREFIX/etc/systemd/system
COMMAND=$PREFIX/usr/local/bin/multiboard-sync
LOG=$APP/install.log
# What understands systemctl's words; where nothing does, the agent is installed and not started.
SYSTEMCTL=${MBS_SYSTEMCTL:-}

usage() {
  cat <<'USAGE'
usage: install-agent.sh [options]          as root, on the machine where the agent shall run

  --from <path>             a folder with the project (default: the one that this script lies in; of a git checkout what
                            is committed), or the archive that scripts/deploy.sh packs, together with --release
  --release <name>          the name of the archive's release
  --sha256 <hex>            refuse an archive with another checksum
  --agent-id <id>           AGENT_ID, put into agent.env where it is still empty
  --control-plane-url <url> CONTROL_PLANE_URL, put into agent.env where it is still empty
  --trust <file>            trust.json, where there is none yet
  --code <mbse_…>           enroll with this one-time code; `-` reads it from standard input. The key is made here
  --health-seconds <n>      how long a started agent has to become well, before the release before it comes back (60)
  --no-service              put everything in its place; install no unit, start nothing

  --check                   change nothing; say what would be done and what is missing (then with exit code 1)
  --rollback                back to the release before this one
  --version <release>       to another release that is still on this machine
  --help

Exit codes: 0 done, 1 not done (what ran before still runs), 2 wrong usage.
USAGE
}

# Also to the log, once this script has a right to it.
say() {
  [ -z "${LOG_OPEN:-}" ] || printf '%s  %s\n' "$(date -u +%FT%TZ)" "$*" >>"$LOG"
  # Nobody listens any more. Before the switch that ends it; afterwards it is carried to its end.
  printf '%s\n' "$*" 2>/dev/null || [ -n "${IS_SWITCHING:-}" ] || exit 1
}
die() {
  say "install-agent.sh: $*" >&2
  exit 1
}
wrong_usage() {
  printf 'install-agent.sh: %s\n' "$*" >&2
  usage >&2
  exit 2
}

linked() { basename "$(readlink "$APP/$1" 2>/dev/null)" 2>/dev/null || true; }
is_whole() { [ -n "$1" ] && [ -f "$APP/releases/$1/RELEASE" ]; }
has_service() { [ -n "$SYSTEMCTL" ]; }
# The lock is not for what outlives this script.
service() { "$SYSTEMCTL" "$@" 9>&- </dev/null; }
is_active() { has_service && service is-active --quiet "$UNIT"; }
agent() { # release, words of the agent's command line
  local release=$1
  shift
  MBS_PREFIX=$PREFIX MBS_USER=$SERVICE_USER timeout "$DOCTOR_SECONDS" \
    bash "$APP/releases/$release/scripts/deploy/multiboard-sync" "$@" </dev/null 9>&-
}

# deploy.sh sends the parts and this in one stream, where no file lies beside it.
if ! declare -F stage_release >/dev/null; then
  here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/deploy
  # shellcheck source=deploy/stage-release.sh
  . "$here/stage-release.sh"
  # shellcheck source=deploy/place-configuration.sh
  . "$here/place-configuration.sh"
  # shellcheck source=deploy/switch-release.sh
  . "$here/switch-release.sh"
  # shellcheck source=deploy/tell-what-next.sh
  . "$here/tell-what-next.sh"
fi

look_at_machine() {
  [ "$(uname -s)" = Linux ] || die "this is $(uname -s); the agent is installed on Linux"
  case $(uname -m) in
    x86_64 | amd64) ARCH=x64 NODE_SHA256=$NODE_SHA256_X64 ;;
    aarch64 | arm64) ARCH=arm64 NODE_SHA256=$NODE_SHA256_ARM64 ;;
    *) die "there is no Node for $(uname -m)" ;;
  esac
  if [ -n "$PREFIX" ]; then
    SERVICE_USER=${MBS_USER:-$(id -un)}
  else
    SERVICE_USER=multiboard-sync
    [ "$(id -u)" -eq 0 ] || die 'run it as root'
    if [ -z "$SYSTEMCTL" ] && [ -d /run/systemd/system ]; then SYSTEMCTL=systemctl; fi
  fi
  [ "$SERVICE" = yes ] || SYSTEMCTL=
  NODE=$APP/node/$NODE_VERSION/bin/node
  NODE_HERE=no
  local own
  own=$(readlink -f "$(command -v node 2>/dev/null)" 2>/dev/null || true)
  # One in somebody's home cannot be read by the service's user.
  case $own in
    /usr/* | /opt/*)
      if [ "$("$own" -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)" -ge 24 ]; then
        NODE=$own
        NODE_HERE=yes
      fi
      ;;
  esac
}

name_release() {
  case $MODE in
    rollback)
      RELEASE=$(linked previous)
      is_whole "$RELEASE" || die 'there is no release to go back to'
      ;;
    version)
      RELEASE=$WANTED
      is_whole "$RELEASE" || die "$RELEASE is not on this machine; there are: $(list_releases | xargs)"
      ;;
    *)
      [ -z "$RELEASE" ] || return 0
      [ -d "$FROM" ] || wrong_usage '--from names an archive: --release is missing'
      [ -f "$FROM/scripts/deploy/paths.txt" ] || die "$FROM is not this project"
      name_folder
      ;;
  esac
}

# The youngest first.
list_releases() { find "$APP/releases" -mindepth 2 -maxdepth 2 -name RELEASE -printf '%T@ %h\n' | sort -rn | sed 's#.*/##'; }

# By its contents, so that the same is the same: version-1234567890.
name_folder() {
  local version
  version=$(sed -n 's/^  "version": "\(.*\)",*$/\1/p' "$FROM/agent/package.json" | head -n 1)
  if [ -f "$FROM/RELEASE" ]; then
    RELEASE=$(head -n 1 "$FROM/RELEASE")
  elif [ -e "$FROM/.git" ] && command -v git >/dev/null; then
    # The same words as in deploy.sh.
    RELEASE=$version-$(cd "$FROM" && xargs git -c safe.directory='*' ls-tree -r HEAD -- <scripts/deploy/paths.txt |
      grep -v '\.test\.ts$' | git hash-object --stdin | cut -c 1-10)
  else
    RELEASE=$version-$(cd "$FROM" && xargs -I{} find {} -type f ! -name '*.test.ts' <scripts/deploy/paths.txt |
      LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c 1-10)
  fi
}

remove_drafts() {
  local draft
  for draft in ${DRAFTS[@]+"${DRAFTS[@]}"}; do rm -rf "$draft"; done
}

parse() {
  MODE=install FROM='' RELEASE='' SHA256='' AGENT_ID='' CONTROL_PLANE_URL='' TRUST='' CODE='' WANTED='' VIA='' AGAIN=''
  HEALTH_SECONDS=60 SERVICE=yes CHECK=no FAILED=no DRAFTS=()
  while [ $# -gt 0 ]; do
    case $1 in
      --help | -h) usage && exit 0 ;;
      --check) CHECK=yes && shift && continue ;;
      --rollback) MODE=rollback && shift && continue ;;
      --no-service) SERVICE=no && shift && continue ;;
    esac
    [ $# -ge 2 ] || wrong_usage "not understood, or without its value: $1"
    case $1 in
      --from) FROM=$2 ;;
      --release) RELEASE=$2 ;;
      --sha256) SHA256=$2 ;;
      --agent-id) AGENT_ID=$2 ;;
      --control-plane-url) CONTROL_PLANE_URL=$2 ;;
      --trust) TRUST=$2 ;;
      --code) CODE=$2 ;;
      --health-seconds) HEALTH_SECONDS=$2 ;;
      --version) MODE=version WANTED=$2 ;;
      # How commands here are reached, and this one, when somebody sits elsewhere.
      --via) VIA="$2 " ;;
      --again) AGAIN=$2 ;;
      *) wrong_usage "not understood: $1" ;;
    esac
    shift 2
  done
  [[ $RELEASE$WANTED =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$|^$ ]] || wrong_usage 'that is no name of a release'
  [[ $HEALTH_SECONDS =~ ^[0-9]+$ ]] || wrong_usage '--health-seconds takes a number'
  [[ $AGENT_ID =~ ^[A-Za-z0-9_-]*$ ]] || wrong_usage '--agent-id takes letters, digits, - and _'
  [[ $CONTROL_PLANE_URL =~ ^(https?://[A-Za-z0-9.:_-]+/?)?$|^https?://\[[0-9a-f:]+\](:[0-9]+)?/?$ ]] ||
    wrong_usage '--control-plane-url takes https://host, without a path'
  [ -z "$TRUST" ] || [ -r "$TRUST" ] || wrong_usage "$TRUST cannot be read"
  if [ -n "$TRUST" ] && grep -q '"d"' "$TRUST"; then wrong_usage "$TRUST holds a private key; only public ones belong there"; fi
  if [ -z "$FROM" ] && [ "$MODE" = install ] && [ -z "$RELEASE" ]; then
    FROM=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  fi
  if [ "$CODE" = - ]; then IFS= read -r CODE || wrong_usage 'there is no code on standard input'; fi
}

main() {
  parse "$@"
  umask 022
  look_at_machine
  name_release
  [ -n "$AGAIN" ] || AGAIN="bash $APP/current/scripts/install-agent.sh --version $RELEASE"
  if [ "$CHECK" = yes ]; then
    check
    return
  fi
  trap remove_drafts EXIT
  trap : PIPE
  make_folders
  take_lock
  stage_release
  place_configuration
  [ "$(readlink "$COMMAND" 2>/dev/null)" = "$APP/current/scripts/deploy/multiboard-sync" ] ||
    ln -sfn "$APP/current/scripts/deploy/multiboard-sync" "$COMMAND"
  enroll
  IS_CONFIGURED=yes
  accepts_configuration "$RELEASE" || IS_CONFIGURED=no
  if [ "$IS_CONFIGURED" = no ] && is_active; then
    say "$FINDINGS"
    die "$RELEASE does not accept the configuration; $(linked current) goes on as before"
  fi
  if [ "$IS_CONFIGURED" = yes ] && has_service; then
    case $(what_changed) in
      restart) switch ;;
      reload)
        say 'The policy, the trust file or the key is new: the agent reads them again.'
        touch "$APP/.started"
        service reload "$UNIT"
        ;;
      *) say 'Nothing has changed; nothing was restarted.' ;;
    esac
    agent "$RELEASE" health >/dev/null 2>&1 || die "$RELEASE runs and is not well: multiboard-sync doctor"
    say "$RELEASE runs and is well."
  else
    local old
    old=$(linked current)
    if [ "$old" != "$RELEASE" ]; then
      point current "$RELEASE"
      [ -z "$old" ] || point previous "$old"
    fi
    say "$RELEASE is installed, and not started."
    [ "$IS_CONFIGURED" = yes ] || say "$FINDINGS"
  fi
  tell_steps
  [ "$FAILED" = no ]
}

main "$@"
