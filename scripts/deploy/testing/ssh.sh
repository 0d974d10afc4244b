#!/usr/bin/env bash
#
# Stands in for ssh where tests look at what goes over the line: real ssh with the test's own configuration; its words, what
# it sends and what comes back are kept in $MBS_WIRE.
set -uo pipefail

printf '%s\n' "$*" >>"$MBS_WIRE/words"
sent=$(mktemp "$MBS_WIRE/sent.XXXXXX")
came=$(mktemp "$MBS_WIRE/came.XXXXXX")
tee "$sent" | /usr/bin/ssh -F "$MBS_SSH_CONFIG" "$@" | tee "$came"
exit "${PIPESTATUS[1]}"
