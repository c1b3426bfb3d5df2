"""Stands in for the labs' split_output.py, with its ways: it wants the output folder empty or absent, and names the
tables after chunks, so a recording of a subdirectory gets a flat name and an empty table under its own."""

import argparse
import csv
import sys
from pathlib import Path

CODES = {"Canonical": "C", "Non-Canonical": "N", "Junk": "J", "Crying": "Y", "Laughing": "L"}
COLUMNS = ["recording_filename", "segment_onset", "segment_offset", "vcm_type"]

parser = argparse.ArgumentParser()
parser.add_argument("--dataset-path", type=Path, required=True)
parser.add_argument("--w2v2-predictions-csv", type=Path, required=True)
parser.add_argument("--output-path", type=Path, required=True)
args = parser.parse_args()

try:
    if args.output_path.exists():
        args.output_path.rmdir()
    args.output_path.mkdir(parents=True)
except OSError:
    sys.exit(1)


def write(recording: str, rows: list[list[str]]) -> None:
    file = (args.output_path / recording).with_suffix(".csv")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows([COLUMNS, *rows])


tables: dict[str, list[list[str]]] = {}
for row in csv.DictReader(args.w2v2_predictions_csv.open()):
    stem, onset, offset = row["id"].rsplit("_", 2)
    recording = f"{stem}.wav"
    tables.setdefault(recording, []).append([recording, onset, offset, CODES[row["prediction_class_name"]]])
for recording, rows in tables.items():
    write(recording, rows)
for row in csv.DictReader((args.dataset_path / "metadata/recordings.csv").open()):
    if row["recording_filename"] not in tables:
        write(row["recording_filename"], [])
