"""Stands in for the labs' create_chunks.py: half seconds around each segment, as WAV and (needlessly) as MP3."""

import argparse
import csv
import wave
from pathlib import Path

MILLISECONDS = 500

parser = argparse.ArgumentParser()
parser.add_argument("--dataset-path", type=Path, required=True)
parser.add_argument("--segments-path", type=Path, required=True)
parser.add_argument("--destination-path", type=Path, required=True)
parser.add_argument("--threads", type=int, default=16)
args = parser.parse_args()

folder = args.destination_path / "chunks"
folder.mkdir(parents=True)
for row in csv.DictReader(args.segments_path.open()):
    name, first, last = row["recording_filename"], int(row["segment_onset"]), int(row["segment_offset"])
    with wave.open(str(args.dataset_path / "recordings/converted/standard" / name)) as sound:
        rate = sound.getframerate()
        for onset in range(first, last, MILLISECONDS):
            sound.setpos(min(onset * rate // 1000, sound.getnframes()))
            # The recording's directories become a part of the file's name.
            stem = f"{name.replace('/', '_').rsplit('.', 1)[0]}_{onset}_{onset + MILLISECONDS}"
            with wave.open(str(folder / f"{stem}.wav"), "wb") as chunk:
                chunk.setparams((1, 2, rate, 0, "NONE", "not compressed"))
                chunk.writeframes(sound.readframes(MILLISECONDS * rate // 1000))
            (folder / f"{stem}.mp3").touch()
