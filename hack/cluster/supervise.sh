#!/bin/sh
# usage: supervise.sh CHILD_FILE CRASH_LIMIT COMMAND [ARG...]
# Keeps COMMAND running: after a crash it starts it again, at most CRASH_LIMIT times in a row (a run of a minute
# counts as healthy and resets the count). CHILD_FILE holds "<pid> <start time>" of the running child. TERM stops both.
child_file=$1
limit=$2
shift 2
crashes=0
child=
stopping=
stop() {
  stopping=1
  [ -n "$child" ] && kill -TERM "$child" 2>/dev/null
}
trap stop TERM INT
while [ -z "$stopping" ]; do
  started=$(date +%s)
  "$@" &
  child=$!
  printf '%s %s\n' "$child" "$(cut -d' ' -f22 "/proc/$child/stat")" >"$child_file"
  wait "$child"
  code=$?
  # A signal ends wait early: wait again until the child is really gone.
  while kill -0 "$child" 2>/dev/null; do
    wait "$child"
    code=$?
  done
  [ -n "$stopping" ] && break
  [ $(($(date +%s) - started)) -ge 60 ] && crashes=0
  crashes=$((crashes + 1))
  echo "supervise: $1 ended with code $code ($crashes of at most $limit crashes in a row)"
  [ "$crashes" -gt "$limit" ] && exit "$code"
  sleep 1
done
rm -f "$child_file"
