# shellcheck shell=bash disable=SC2034,SC2153,SC2154
#
# A part of install-agent.sh: from one release to another, and back by itself when that one is not well.

point() { # link, release
  ln -sfn "releases/$2" "$APP/.$1.new"
  mv -T "$APP/.$1.new" "$APP/$1"
}

# The unit belongs to the release. What is yours of it is in `systemctl edit`, which this leaves alone.
# False when it was so already.
put_unit() {
  local unit draft=$UNITS/.$UNIT.new
  unit=$(cat "$APP/releases/$1/infra/systemd/$UNIT")
  [ -z "$PREFIX" ] || unit=$(printf '%s' "$unit" | sed "s#\(/opt\|/etc\|/var/lib\|/var/cache\)/multiboard-sync#$PREFIX&#g")
  [ "$unit" != "$(cat "$UNITS/$UNIT" 2>/dev/null)" ] || return 1
  install -d -m 0755 "$UNITS"
  printf '%s\n' "$unit" >"$draft"
  chmod 0644 "$draft"
  mv "$draft" "$UNITS/$UNIT"
  service daemon-reload
}

heartbeat_pid() { sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' "$STATE/alive.json" 2>/dev/null || true; }

# Whether the control plane answers the agent that runs: then it must answer the next one, too.
is_answered() {
  is_active && agent "$1" health >/dev/null 2>&1 && says '"failed_with": *null' && ! says '"last_poll_ok_at": *null'
}
says() { grep -q "$1" "$STATE/alive.json" 2>/dev/null; }

# True once it is well, seen twice with one process that was not there before: one that dies again and again is not.
start_and_watch() { # release, whether the control plane must answer it
  local before='' now='' until old_pid
  old_pid=$(heartbeat_pid)
  if is_active && says '"job": *[{"]'; then
    say 'A job is running: the agent ends it before it stops.'
  fi
  touch "$APP/.started"
  service restart "$UNIT" >>"$LOG" 2>&1 || say 'The service manager says that it did not start.'
  until=$((SECONDS + HEALTH_SECONDS))
  while [ "$SECONDS" -lt "$until" ]; do
    sleep 1
    now=''
    if agent "$1" health >/dev/null 2>&1; then now=$(heartbeat_pid); fi
    [ "$now" != "$old_pid" ] || now=''
    if [ -n "$now" ] && [ "$now" = "$before" ] && { [ "$2" = no ] || ! says '"last_poll_ok_at": *null'; }; then return 0; fi
    before=$now
  done
  # What a crash has left in large tables may take longer than anybody should wait here.
  if [ -n "$now" ] && says '"doing": *"settling"' && says '"failed_with": *null'; then
    say 'It still settles what was left in its targets, and polls after that.'
    return 0
  fi
  return 1
}

switch() {
  local old before answered=no
  old=$(linked current)
  before=$(linked previous)
  [ "$old" != "$RELEASE" ] || before=
  if [ -n "$old" ] && is_answered "$old"; then answered=yes; fi
  say "Starting $RELEASE; it has $HEALTH_SECONDS seconds to be well."
  IS_SWITCHING=yes
  # Set, not ignored: what is started from here must not inherit deaf ears.
  trap : HUP PIPE INT TERM
  [ "$old" = "$RELEASE" ] || point current "$RELEASE"
  [ -z "$old" ] || [ "$old" = "$RELEASE" ] || point previous "$old"
  put_unit "$RELEASE" || true
  service enable --quiet "$UNIT" >>"$LOG" 2>&1 || true
  if start_and_watch "$RELEASE" "$answered"; then
    remove_old_releases
    return 0
  fi
  say "$RELEASE is not well."
  if [ "$SYSTEMCTL" = systemctl ]; then say "$(journalctl --unit "$UNIT" --lines 15 --no-pager --output cat || true)"; fi
  if [ -z "$old" ] || [ "$old" = "$RELEASE" ]; then
    die 'there is no other release to go back to, so it stays; see above, and ask: multiboard-sync doctor'
  fi
  say "Going back to $old."
  point current "$old"
  if [ -n "$before" ]; then point previous "$before"; else rm -f "$APP/previous"; fi
  put_unit "$old" || true
  # It was well before: it gets the time that a busy machine takes.
  [ "$HEALTH_SECONDS" -ge 60 ] || HEALTH_SECONDS=60
  start_and_watch "$old" no || die "$old is not well either; ask: multiboard-sync doctor"
  die "$old runs again and is well. $RELEASE is in $APP/releases, not in use"
}

# What has changed since the agent was started by this script: `restart`, `reload`, or nothing.
what_changed() {
  local file
  if [ "$(linked current)" != "$RELEASE" ] || ! is_active || put_unit "$RELEASE"; then echo restart; return; fi
  if [ "$ETC/agent.env" -nt "$APP/.started" ]; then echo restart; return; fi
  for file in "$ETC/agent.yaml" "$ETC/trust.json" "$STATE/agent.key.json"; do
    if [ "$file" -nt "$APP/.started" ]; then echo reload; return; fi
  done
}
