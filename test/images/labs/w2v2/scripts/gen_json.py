"""Stands in for scripts/gen_json.py of speech-maturity: chunk name -> its file."""

import argparse
import json
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--audio", type=Path, required=True)
parser.add_argument("--output", type=Path, required=True)
args = parser.parse_args()
chunks = {wav.stem: {"wav": str(wav.resolve()), "label": ""} for wav in sorted(args.audio.glob("*.wav"))}
args.output.with_suffix(".json").write_text(json.dumps(chunks))
