#!/usr/bin/env bash
# The gate. Each step names the command that repairs what it finds.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
step() { # step <what> <repair> <command...>
  local what=$1 repair=$2
  shift 2
  if output=$("$@" 2>&1); then
    echo "ok    $what"
  else
    echo "FAIL  $what"
    printf '%s\n' "$output" | sed 's/^/      /' | tail -n 60
    echo "      repair: $repair"
    failed=1
  fi
}

clean_tree() {
  local changed
  changed=$(git status --porcelain)
  [ -z "$changed" ] || { echo "$changed"; return 1; }
}

step 'CRDs are fresh' 'make generate' node hack/gen-crds.ts --check
step 'reference docs are fresh' 'make generate' node hack/gen-docs.ts --check
step 'chart files are fresh' 'make generate' node hack/gen-values-schema.ts --check
step 'format' 'make format' biome format
step 'types' 'read the messages above' tsc --noEmit
step 'lint' 'read the messages above' oxlint --type-aware --deny-warnings
step 'unused code and dependencies' 'remove what is unused' knip --no-progress
step 'clean tree' 'commit or remove these files' clean_tree
exit $failed
