"""Stands in for the labs' sample_chi_vocs.py: the segments of the key child in the VTC annotations."""

import argparse
import csv
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--dataset-path", type=Path, required=True)
parser.add_argument("--output-path", type=Path, required=True)
args = parser.parse_args()

with args.output_path.open("w", newline="") as out:
    writer = csv.writer(out)
    writer.writerow(["recording_filename", "segment_onset", "segment_offset"])
    for row in csv.DictReader((args.dataset_path / "metadata/annotations.csv").open()):
        if row["set"] != "vtc":
            continue
        converted = args.dataset_path / "annotations/vtc/converted" / row["annotation_filename"]
        for segment in csv.DictReader(converted.open()):
            if segment["speaker_type"] == "CHI":
                writer.writerow([row["recording_filename"], segment["segment_onset"], segment["segment_offset"]])
