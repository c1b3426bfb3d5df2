#!/bin/sh
# The same stand-in for `per: Dataset` models: one run over all WAV files below a directory.
#   model-dataset.sh <input directory> <output directory> [behaviour] [seconds]
# Writes <output directory>/raw/<path>.rttm; ends with the exit code of the first input that failed.
set -u

inputs=$1
outputs=$2
shift 2
code=0
list=$(mktemp)
find "$inputs" -type f -name '*.wav' >"$list"
while IFS= read -r input; do
  relative=${input#"$inputs"/}
  output=$outputs/raw/${relative%.wav}.rttm
  mkdir -p "${output%/*}"
  "$(dirname "$0")/model.sh" "$input" "$output" "$@" </dev/null || code=$?
  if [ "$code" -ne 0 ]; then break; fi
done <"$list"
exit "$code"
