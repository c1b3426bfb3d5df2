#!/usr/bin/env bash
# Stands in for VTC 1: no machine learning happens here. Usage, files, side effects and exit codes are the real one's:
# it works in the current directory, keeps files beside its weights, splits paths at blanks, and a bare `exit` after
# `echo` makes every failure end with 0.
here=$(cd "$(dirname "$0")" && pwd)
if [ $# -ge 4 ]; then
  echo "Wrong call: one recording, and at most --device and --batch."
  exit
fi
device=cpu
for option in "${@:2}"; do
  case $option in --device=*) device=${option#*=} ;; esac
done
if [ "${CONDA_DEFAULT_ENV:-}" != pyannote ]; then
  echo "pyannote-audio: command not found"
  exit
fi
if [ -z "$(ls -A $1 2>/dev/null)" ]; then
  echo "The folder you provided doesn't contain any wav files."
  exit
fi
stem=$(basename $1)
stem=${stem/.wav/}
if [ "$(od -An -tu4 -j24 -N4 "$1" | tr -d ' ')" != 16000 ]; then
  echo "$1 is not sampled at 16 kHz."
  exit
fi
case $stem in
  nosox_*)
    echo "soxi: command not found"
    exit
    ;;
esac
config=$here/pyannote_tmp_config/$stem
mkdir -p "$config" && echo "$stem 1 0.0 1.0" >"$config/$stem.uem"
applied=$here/model/train/validate/apply/0100
output=output_voice_type_classifier/$stem
mkdir -p "$output"
case $stem in broken_*) false ;; *) mkdir -p "$applied" ;; esac
if [ $? -ne 0 ]; then
  echo "Something went wrong when applying the model on $device"
  echo "Aborting."
  exit
fi
onset=0
for class in KCHI CHI MAL FEM SPEECH; do
  onset=$((onset + 1))
  rttm=$applied/$stem.SpeakerDiarization.All.test.$class.rttm
  : >"$rttm"
  case $stem in
    silent_*) ;;
    *) echo "SPEAKER $stem 1 0.${onset}00 0.050 <NA> <NA> $class <NA> <NA>" >"$rttm" ;;
  esac
  mv "$rttm" "$output/$class.rttm"
done
cat "$output"/*.rttm | sort -b -k2,2 -k4,4n >"$output/all.rttm"
case $stem in torn_*) printf 'SPEAKER %s 1 0.' "$stem" >>"$output/all.rttm" ;; esac
