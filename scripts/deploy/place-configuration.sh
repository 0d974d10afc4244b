# shellcheck shell=bash disable=SC2034,SC2153,SC2154
#
# A part of install-agent.sh: files that are not there yet, the agent's key by a code, and what the release says of it all.

place() { # from standard input to a file that is not there yet
  local draft=$1.new.$$
  cat >"$draft"
  chgrp "$GROUP" "$draft"
  chmod 0640 "$draft"
  # Whole or not at all, and never over another.
  ln "$draft" "$1" 2>/dev/null || true
  rm -f "$draft"
}

place_configuration() {
  local release=$APP/releases/$RELEASE
  [ -e "$ETC/agent.env" ] || place "$ETC/agent.env" <"$release/scripts/deploy/agent.env"
  [ -e "$ETC/agent.yaml" ] || place "$ETC/agent.yaml" <"$release/agent.example.yaml"
  [ -z "$AGENT_ID" ] || fill AGENT_ID "$AGENT_ID"
  [ -z "$CONTROL_PLANE_URL" ] || fill CONTROL_PLANE_URL "$CONTROL_PLANE_URL"
  [ -n "$TRUST" ] || return 0
  if [ ! -e "$ETC/trust.json" ]; then
    place "$ETC/trust.json" <"$TRUST"
  elif ! cmp -s "$TRUST" "$ETC/trust.json"; then
    say "$ETC/trust.json is another one than yours and stays; \`multiboard-sync keys trust\` adds a key."
  fi
}

fill() { # variable, value: where agent.env still has it empty
  local draft=$ETC/agent.env.new.$$
  if grep -q "^$1=\$" "$ETC/agent.env"; then
    sed "s#^$1=\$#$1=$2#" "$ETC/agent.env" >"$draft"
    chown --reference="$ETC/agent.env" "$draft"
    chmod --reference="$ETC/agent.env" "$draft"
    mv "$draft" "$ETC/agent.env"
  elif ! grep -qxF "$1=$2" "$ETC/agent.env"; then
    say "$ETC/agent.env has another $1, which stays."
  fi
}

enroll() {
  [ -n "$CODE" ] || return 0
  local told id
  if ! told=$(agent "$RELEASE" enroll --code "$CODE" 2>&1); then
    say "$told"
    say 'It was not enrolled; everything else goes on. A code is good for ten minutes and for one agent.'
    FAILED=yes
    return 0
  fi
  id=$(printf '%s\n' "$told" | sed -n 's/^enrolled  as \([a-z0-9][a-z0-9_-]*\)$/\1/p')
  if [ -n "$id" ] && grep -q '^AGENT_ID=$' "$ETC/agent.env"; then
    fill AGENT_ID "$id"
    told=$(printf '%s\n' "$told" | grep -v '^to do     Set AGENT_ID=' || true)
  fi
  say "$told"
}

# The release's own judgement: 2 is wrong configuration, whatever else doctor finds is no reason not to start.
accepts_configuration() {
  local status=0
  local name
  FINDINGS=$(agent "$1" doctor 2>&1) || status=$?
  # Doctor and single commands can do without these; the service cannot.
  for name in AGENT_ID CONTROL_PLANE_URL; do
    grep -Eq "^${name}(_FILE)?=." "$ETC/agent.env" || { FINDINGS="$name is not set in $ETC/agent.env.
$FINDINGS" && status=2; }
  done
  [ "$status" -ne 2 ]
}
