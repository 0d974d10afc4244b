#!/usr/bin/env bash
#
# Brings the agent from this checkout to a machine that ssh reaches, or that machine to another release. What is committed
# goes, nothing else; install-agent.sh does the work there. Runs with the bash of macOS too.
#
# Promises: one connection; what does not arrive whole is not installed; a line that breaks leaves what runs as it was, or
# the switch is carried to its end there. Doing the same again changes and restarts nothing.
# Never: sends a private key or any file that is not committed, but the trust file (public keys) that --trust names.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: scripts/deploy.sh [user@]host [options]

  --port <n>                the port of ssh
  --identity <file>         the key of ssh
  --ref <commit>            what to deploy (HEAD)
  --agent-id <id>           AGENT_ID, put into agent.env where it is still empty
  --control-plane-url <url> CONTROL_PLANE_URL, likewise
  --trust <file>            trust.json with the control plane's public key, where there is none there yet
  --code <mbse_…>           enroll with this one-time code; the agent's key is made there and stays there
  --health-seconds <n>      how long a started agent has to become well, before the release before it comes back (60)

  --check                   change nothing; say what would be done and what is missing (then with exit code 1)
  --rollback                back to the release before this one
  --version <release>       to another release that is still there
  --help

The user is root, or one whose sudo asks for no password. Everything else about ssh is in your ~/.ssh/config.
Exit codes: 0 done, 1 not done (what ran before still runs), 2 wrong usage, 255 ssh failed.
USAGE
}

wrong_usage() {
  printf 'deploy.sh: %s\n' "$*" >&2
  usage >&2
  exit 2
}
die() {
  printf 'deploy.sh: %s\n' "$*" >&2
  exit 1
}

# One word for the shell over there, whatever is in it.
quoted() { printf "'%s' " "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }

parse() {
  HOST='' PORT='' IDENTITY='' REF=HEAD TRUST='' CODE='' MODE=install
  # What install-agent.sh is told as it is, quoted.
  PASSED=''
  while [ $# -gt 0 ]; do
    case $1 in
      --help | -h) usage && exit 0 ;;
      --check | --rollback) PASSED="$PASSED$1 " MODE=${1#--} && shift && continue ;;
      -*) [ $# -ge 2 ] || wrong_usage "not understood, or without its value: $1" ;;
      *)
        [ -z "$HOST" ] || wrong_usage "one machine at a time: $1"
        HOST=$1 && shift && continue
        ;;
    esac
    case $1 in
      --port) PORT=$2 ;;
      --identity) IDENTITY=$2 ;;
      --ref) REF=$2 ;;
      --trust) TRUST=$2 ;;
      --code) CODE=$2 ;;
      --version) PASSED="$PASSED$1 $(quoted "$2")" MODE=version ;;
      --agent-id | --control-plane-url | --health-seconds) PASSED="$PASSED$1 $(quoted "$2")" ;;
      *) wrong_usage "not understood: $1" ;;
    esac
    shift 2
  done
  case $HOST in
    '') wrong_usage 'which machine?' ;;
    *[!A-Za-z0-9@._:%-]*) wrong_usage "that is no name of a machine: $HOST" ;;
  esac
  case $PORT in *[!0-9]*) wrong_usage '--port takes a number' ;; esac
  [ -z "$IDENTITY" ] || [ -r "$IDENTITY" ] || wrong_usage "$IDENTITY cannot be read"
  case $CODE in '' | mbse_*) ;; *) wrong_usage '--code takes what POST /v1/enrollments has answered: mbse_…' ;; esac
  if [ -n "$TRUST" ]; then
    [ -r "$TRUST" ] || wrong_usage "$TRUST cannot be read"
    grep -q '"keys"' "$TRUST" || wrong_usage "$TRUST is no trust file"
    if grep -q '"d"' "$TRUST"; then wrong_usage "$TRUST holds a private key, which is not sent"; fi
  fi
}

# What the agent needs of a commit.
list_paths() { git show "$COMMIT:scripts/deploy/paths.txt"; }

# By the contents, so that commits that change nothing of the agent are the same release. The same words as in
# install-agent.sh, which names a checkout.
name_release() {
  local version
  version=$(git show "$COMMIT:agent/package.json" | sed -n 's/^  "version": "\(.*\)",*$/\1/p' | head -n 1)
  RELEASE=$version-$(list_paths | xargs git ls-tree -r "$COMMIT" -- | grep -v '\.test\.ts$' | git hash-object --stdin | cut -c 1-10)
}

sha256() { if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1; }

connect() {
  SSH_OPTIONS=(-o ControlMaster=auto -o "ControlPath=$FOLDER/s" -o ControlPersist=120 -o ServerAliveInterval=15 -o ServerAliveCountMax=8)
  VIA='ssh -t' AGAIN="scripts/deploy.sh $HOST"
  if [ -n "$PORT" ]; then SSH_OPTIONS+=(-p "$PORT") && VIA="$VIA -p $PORT" AGAIN="$AGAIN --port $PORT"; fi
  if [ -n "$IDENTITY" ]; then SSH_OPTIONS+=(-i "$IDENTITY") && VIA="$VIA -i $IDENTITY" AGAIN="$AGAIN --identity $IDENTITY"; fi
  VIA="$VIA $HOST"
  local who
  who=$(there 'id -u; command -v bash' </dev/null)
  case $who in
    *bash*) ;;
    *) die "$HOST has no bash" ;;
  esac
  SUDO=''
  if [ "$(printf '%s\n' "$who" | head -n 1)" != 0 ]; then
    SUDO='sudo -n '
    VIA="$VIA sudo"
    there 'sudo -n true' </dev/null || die "sudo asks for a password there: deploy as root@${HOST#*@}, or let sudo not ask"
  fi
}

# shellcheck disable=SC2029 # What is meant for the shell over there is quoted where it is made.
there() { ssh "${SSH_OPTIONS[@]}" "$HOST" "$1"; }

# All of the installer in one stream, for a machine that gets nothing else.
installer() {
  local part
  for part in stage-release place-configuration switch-release tell-what-next; do
    git show "$COMMIT:scripts/deploy/$part.sh"
  done
  git show "$COMMIT:scripts/install-agent.sh"
}

clean_up() {
  if [ -n "${REMOTE:-}" ]; then there "rm -rf $REMOTE" </dev/null >/dev/null 2>&1 || true; fi
  ssh -o "ControlPath=$FOLDER/s" -O exit "$HOST" >/dev/null 2>&1 || true
  rm -rf "$FOLDER"
}

send_and_install() {
  local archive=$FOLDER/release.tar.gz words
  # Tests do not travel.
  { list_paths && echo ':(exclude,glob)**/*.test.ts'; } | xargs git archive --format=tar.gz -o "$archive" "$COMMIT" --
  REMOTE=$(there 'mktemp -d /tmp/multiboard-sync.XXXXXXXX' </dev/null)
  case $REMOTE in /tmp/multiboard-sync.????????) ;; *) REMOTE='' && die 'the machine gave no folder to put the release into' ;; esac
  echo "Sending $RELEASE to $HOST."
  there "cat >$REMOTE/release.tar.gz" <"$archive"
  words="--from $REMOTE/release.tar.gz --release $RELEASE --sha256 $(sha256 "$archive")"
  if [ -n "$TRUST" ]; then
    there "cat >$REMOTE/trust.json" <"$TRUST"
    words="$words --trust $REMOTE/trust.json"
  fi
  # The code goes through standard input: arguments and sudo's log are for everybody to see.
  if [ -n "$CODE" ]; then words="$words --code -"; fi
  # Checked before anything of it is run.
  printf '%s\n' "$CODE" | there "trap 'rm -rf $REMOTE' EXIT; cd $REMOTE && echo '$(sha256 "$archive")  release.tar.gz' | sha256sum --check --status ||
    { echo 'deploy.sh: the archive did not arrive whole' >&2; exit 1; }
    tar -xzf release.tar.gz scripts/install-agent.sh scripts/deploy &&
    ${SUDO}bash scripts/install-agent.sh $words $WORDS"
}

main() {
  parse "$@"
  cd "$(dirname "$0")/.."
  COMMIT=$(git rev-parse --verify --quiet "$REF^{commit}") || die "there is no commit $REF in $PWD"
  git cat-file -e "$COMMIT:scripts/deploy/paths.txt" 2>/dev/null || die "$REF is older than this script"
  name_release
  if [ "$REF" = HEAD ] && ! list_paths | xargs git diff --quiet HEAD --; then
    echo 'Changes that are not committed stay here.'
  fi
  FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/mbs.XXXXXX")
  trap clean_up EXIT
  connect
  WORDS="--via $(quoted "$VIA") --again $(quoted "$AGAIN") $PASSED"
  case $MODE in
    install) send_and_install ;;
    check) installer | there "${SUDO}bash -s -- --release $RELEASE $WORDS" ;;
    *) installer | there "${SUDO}bash -s -- $WORDS" ;;
  esac
}

main "$@"
