#!/bin/sh
# A stand-in for a model, for end-to-end tests: no machine learning happens here.
#   model.sh <input> <output> [behaviour] [seconds]
# The behaviour is the third argument; without it (or with "by-name"), the name of the input decides:
# child1/slow_a.wav is slow, fail.wav fails, anything without a known first word is ok.
set -u

input=$1
output=$2
behaviour=${3:-by-name}
seconds=${4:-5}

if [ "$behaviour" = by-name ]; then
  behaviour=${input##*/}
  behaviour=${behaviour%.*}
  behaviour=${behaviour%%[_ -]*}
fi

name=${input##*/}
name=${name%.*}
# Blanks would change the number of fields of a line.
uri=$(printf '%s' "$name" | tr -c 'A-Za-z0-9._-' '_')
line() { printf 'SPEAKER %s 1 %s 0.50 <NA> <NA> CHI <NA> <NA>\n' "$uri" "$1"; }

echo "stand-in model: $behaviour on $input"
case $behaviour in
  slow)
    sleep "$seconds"
    line 0.00 >"$output"
    ;;
  fail)
    echo "stand-in model: failing as told"
    exit 3
    ;;
  nothing) ;;
  truncated)
    line 0.00 >"$output"
    printf 'SPEAKER %s 1 0.' "$uri" >>"$output"
    ;;
  oom)
    # A line that never ends is kept in memory until the container's limit is reached.
    tail /dev/zero >/dev/null
    ;;
  fill)
    cat /dev/zero >"${output%/*}/filler"
    line 0.00 >"$output"
    ;;
  stubborn)
    trap '' TERM
    sleep "$seconds"
    line 0.00 >"$output"
    ;;
  *)
    line 0.00 >"$output"
    line 1.00 >>"$output"
    ;;
esac
