/**
 * The POSIX-sh loop that runs a `per: File` or `per: Directory` model over prepare's plan, inside the model's own
 * image: ["/bin/sh", "-c", MODEL_LOOP, "analysis-loop"]. The first argument replaces /analysis (for tests).
 *
 *   <id>.start   one line per start; emptied when the pod is asked to stop, so that only a kill leaves it behind
 *   <id>.exit    exit code of the unit; written whole or not at all
 *   <id>.killed  beside an exit code of 137: the kernel killed the unit, most likely for memory
 *   gpu          the GPU that the container runtime assigned
 *
 * Guarantees: a unit with an exit marker is never run again; one unit's failure never ends the loop; the loop exits 0,
 * publish judges. Of programs it needs only `mv`; the rest is built into every sh.
 */
export const MODEL_LOOP = `control=\${1:-/analysis}
umask 0002
ended=
current=
stop() {
  trap '' TERM INT
  # Not a variable of unit's: a signal may come between the start of the model and any assignment.
  if [ "$!" != "$ended" ]; then
    kill -TERM "$!" 2>/dev/null
    wait "$!"
  fi
  if [ -n "$current" ]; then : >"$control/$current.start"; fi
  exit 143
}
unit() {
  if [ -e "$control/$1.exit" ]; then return 0; fi
  current=$1
  shift
  echo started >>"$control/$current.start"
  "$@" </dev/null &
  wait "$!"
  code=$?
  ended=$!
  if [ "$code" -ne 0 ]; then
    printf 'analysis-loop: exit code %s:' "$code" >&2
    printf ' %s' "$@" >&2
    printf '\\n' >&2
  fi
  if [ "$code" -eq 137 ]; then : >"$control/$current.killed"; fi
  echo "$code" >"$control/$current.tmp" && mv -f "$control/$current.tmp" "$control/$current.exit"
  current=
  return 0
}
trap stop TERM INT
printf '%s\\n' "\${NVIDIA_VISIBLE_DEVICES:-}" >"$control/gpu"
. "$control/plan.sh"
exit 0
`;

/** Quotes one argument for a POSIX shell; any text without NUL survives byte for byte. */
export function quoteShell(argument: string): string {
  return `'${argument.replaceAll("'", "'\\''")}'`;
}

/** One line of plan.sh. */
export function planLine(id: string, argv: readonly string[]): string {
  return `unit ${id} ${argv.map(quoteShell).join(' ')}\n`;
}
