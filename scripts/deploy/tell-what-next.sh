# shellcheck shell=bash disable=SC2034,SC2153,SC2154
#
# A part of install-agent.sh: what there is to do, before (--check) and afterwards.

step() { # what, command
  STEP=$((${STEP:-0} + 1))
  say "  $STEP. $1"
  say "       $2"
}

tell_steps() {
  say ''
  say 'What to do next, in this order:'
  if [ "$IS_CONFIGURED" = no ]; then
    step 'Addresses and keys of your databases, the bucket and the control plane:' "${VIA}nano $ETC/agent.env"
    step 'What may flow where:' "${VIA}nano $ETC/agent.yaml"
  fi
  [ -e "$ETC/trust.json" ] ||
    step "The control plane's public key, in the file that \`pnpm keys\` has made:" "$AGAIN --trust keys/trust.json"
  [ -e "$STATE/agent.key.json" ] ||
    step "The agent's key, with a code that an admin has asked for (POST /v1/enrollments):" "$AGAIN --code mbse_…"
  step 'See that everything is reached:' "${VIA}multiboard-sync doctor"
  if ! has_service; then
    step 'Start it (nothing on this machine starts services; let what does so run this):' "${VIA}multiboard-sync run"
  elif ! is_active; then
    step 'Start it, and wait until it is well:' "$AGAIN"
  else
    step 'What a first sync would do, without doing it:' "${VIA}multiboard-sync sync --from production --to staging --dry-run"
  fi
}

check() {
  local file now before missing=0
  now=$(linked current)
  before=$(linked previous)
  would() { say "would     $*"; }
  lacks() { say "missing   $*" && missing=1; }
  say "release   ${now:-none} in use, before it ${before:-none}"
  if is_active; then
    say "service   runs, $(agent "$now" health >/dev/null 2>&1 && echo well || echo 'and is NOT well')"
  elif has_service; then
    say 'service   does not run'
  else
    say 'service   nothing starts services here: the agent would be installed, and not started'
  fi
  [ -n "$PREFIX" ] || getent passwd "$SERVICE_USER" >/dev/null || would "make the user $SERVICE_USER"
  if ! is_whole "$RELEASE"; then
    has_npm || would "install the system's npm (apt-get install npm)"
    [ "$NODE_HERE" = yes ] || [ -x "$NODE" ] || would "fetch Node $NODE_VERSION from npm's registry into $APP/node"
    would "put $RELEASE into $APP/releases, with its packages from npm's registry"
  fi
  for file in agent.env agent.yaml; do
    [ -e "$ETC/$file" ] || would "write $ETC/$file, to be filled in"
  done
  if [ ! -e "$ETC/trust.json" ]; then
    if [ -n "$TRUST" ]; then would "put the trust file at $ETC/trust.json"; else lacks "$ETC/trust.json"; fi
  fi
  if [ -n "$CODE" ]; then would 'enroll with the code'; elif [ ! -e "$STATE/agent.key.json" ]; then lacks "$STATE/agent.key.json"; fi
  if is_whole "$now" && [ -e "$ETC/agent.env" ] && ! accepts_configuration "$now"; then lacks "configuration:
$FINDINGS"; fi
  if [ "$now" != "$RELEASE" ]; then
    would "switch from ${now:-nothing} to $RELEASE${SYSTEMCTL:+, restart, and go back if it is not well within $HEALTH_SECONDS s}"
  elif has_service && ! is_active; then
    would 'start it'
  else
    say 'up to date'
  fi
  return "$missing"
}
