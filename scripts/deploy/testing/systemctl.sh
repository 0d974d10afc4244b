#!/usr/bin/env bash
#
# Stands in for systemctl where tests install into a folder: runs what the unit's ExecStart says, with its Environment and
# EnvironmentFile and nothing else, and starts it again when it ends, as Restart=always does. Ends by itself when the test's
# process is gone. What it was asked is in $MBS_PREFIX/systemctl.log.
set -euo pipefail

unit=$MBS_PREFIX/etc/systemd/system/multiboard-sync-agent.service
run=$MBS_PREFIX/run
mkdir -p "$run"

values() { sed -n "s/^$1=//p" "$unit"; }

is_running() { [ -f "$run/supervisor" ] && kill -0 "$(cat "$run/supervisor")" 2>/dev/null; }

stop() {
  is_running || return 0
  local pid tries=0
  pid=$(cat "$run/supervisor")
  kill -TERM "$pid" 2>/dev/null || true
  while kill -0 "$pid" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 150 ] || kill -KILL "$(cat "$run/main")" "$pid" 2>/dev/null || true
    sleep 0.1
  done
}

supervise() {
  local main='' is_stopping=no
  trap 'is_stopping=yes; kill -TERM "$main" 2>/dev/null || true' TERM
  while [ "$is_stopping" = no ]; do
    local words=()
    read -ra words <<<"$(values Environment | tr '\n' ' ')$(grep -v '^#' "$(values EnvironmentFile)" | tr '\n' ' ')"
    # shellcheck disable=SC2046 # ExecStart is words.
    env -i PATH="$PATH" "${words[@]}" $(values ExecStart) >>"$run/agent.log" 2>&1 &
    main=$!
    echo "$main" >"$run/main"
    while kill -0 "$main" 2>/dev/null; do
      if ! kill -0 "$MBS_TEST_PID" 2>/dev/null; then
        kill -KILL "$main" || true
        exit
      fi
      sleep 0.2
    done
    [ "$is_stopping" = yes ] || sleep 0.5
  done
}

[ "$1" = supervise ] || echo "$*" >>"$MBS_PREFIX/systemctl.log"
case $1 in
  supervise) supervise ;;
  enable | daemon-reload) ;;
  is-active) is_running ;;
  stop) stop ;;
  reload) kill -HUP "$(cat "$run/main")" ;;
  restart)
    stop
    setsid "$0" supervise </dev/null >/dev/null 2>&1 &
    echo $! >"$run/supervisor"
    ;;
  *) exit 1 ;;
esac
