"""Stands in for scripts/infer.py of VTC 2: no machine learning happens here.

Options, files and misbehaviour are the real one's: directories below --wavs are not looked into; RTTM is written and
read back with blanks as separators, so a name with blanks loses its turns and gets an empty file instead.
"""

import argparse
import shutil
import sys
import wave
from pathlib import Path

CLASSES = ("KCHI", "OCH", "FEM", "MAL")

parser = argparse.ArgumentParser()
parser.add_argument("--wavs", type=Path, default=Path("data/debug/wav"))
parser.add_argument("--output", type=Path, required=True)
parser.add_argument("--checkpoint", type=Path, default=Path("VTC-2/model/best.ckpt"))
parser.add_argument("--batch_size", type=int, default=128)
parser.add_argument("--device", choices=("gpu", "cuda", "cpu", "mps"), default="cuda")
args = parser.parse_args()

if not args.checkpoint.exists():
    sys.exit(f"FileNotFoundError: {args.checkpoint}: run from the repository, with its submodule")
# The next version cleans up after itself and leaves its thresholds instead.
newer = any(wav.stem.startswith("v22_") for wav in args.wavs.glob("*.wav"))
raw, merged = args.output / "raw_rttm", args.output / "rttm"
for folder in (raw, merged):
    folder.mkdir(parents=True, exist_ok=True)
processed = []
for wav in sorted(args.wavs.glob("*.wav")):
    with wave.open(str(wav)) as sound:
        if (sound.getframerate(), sound.getnchannels()) != (16_000, 1):
            raise ValueError(f"file `{wav}` is not sampled at 16 000 Hz, or not mono")
    # A file that the loader cannot decode is left out with a warning.
    if wav.stem.startswith("lost_"):
        print(f"[WARNING] skipping {wav.name}")
        continue
    processed.append(wav.stem)
    turns = () if wav.stem.startswith("silent_") else CLASSES
    lines = [f"SPEAKER {wav.stem} 1 0.{at}00 0.050 <NA> <NA> {label} <NA> <NA>\n" for at, label in enumerate(turns)]
    (raw / f"{wav.stem}.rttm").write_text("".join(lines))
seen = set()
for stem in processed:
    text = (raw / f"{stem}.rttm").read_text()
    if text:
        uri = text.split(" ")[1]
        seen.add(uri)
        (merged / f"{uri}.rttm").write_text(text)
for stem in set(processed) - seen:
    (merged / f"{stem}.rttm").touch()
(args.output / "rttm.csv").write_text("uid,start_time_s,duration_s,label\n")
if newer:
    shutil.rmtree(raw)
    (args.output / "f1.toml").write_text("")
else:
    (args.output / "raw_rttm.csv").write_text("uid,start_time_s,duration_s,label\n")
