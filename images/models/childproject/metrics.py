"""Descriptive statistics of a dataset, with ChildProject's metrics pipelines.

    metrics.py DATASET OUTPUT --pipeline aclew|lena --by UNIT [--period 1h] [--set SET]

Writes OUTPUT/metrics.csv, one row for each recording, child or session (and period of the day), and
OUTPUT/metrics_parameters.yml, with which ChildProject can repeat the run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from limits import one_thread_each, processors

EX_DATAERR = 65
EX_CANTCREAT = 73
UNITS = ("recording_filename", "child_id", "session_id")
DEFAULT_SETS = {"aclew": "vtc", "lena": "its"}


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="metrics", description="Descriptive statistics of a ChildProject dataset.")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--pipeline", choices=tuple(DEFAULT_SETS), required=True)
    parser.add_argument("--by", choices=UNITS, required=True)
    parser.add_argument("--period", default="", help="a pandas frequency such as 1h; one row per period of the day")
    parser.add_argument("--set", default="", help="VTC set of aclew (vtc), .its set of lena (its)")
    return parser.parse_args(argv)


def extract(given: argparse.Namespace, folder: Path) -> None:
    """Runs the pipeline into `folder`. Raises ValueError or AssertionError for a dataset that lacks something."""
    from ChildProject.pipelines.metrics import MetricsPipeline

    chosen = given.set or DEFAULT_SETS[given.pipeline]
    options = {"set": chosen} if given.pipeline == "lena" else {"vtc": chosen}
    MetricsPipeline().run(
        path=str(given.dataset),
        destination=str(folder / "metrics.csv"),
        pipeline=given.pipeline,
        by=given.by,
        period=given.period or None,
        threads=processors(),
        **options,
    )


def publish(folder: Path, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    (parameters,) = folder.glob("metrics_parameters_*.yml")
    for source, name in ((parameters, "metrics_parameters.yml"), (folder / "metrics.csv", "metrics.csv")):
        partial = output / f".{name}.partial"
        partial.write_bytes(source.read_bytes())
        os.chmod(partial, 0o664)
        os.replace(partial, output / name)


def main(argv: list[str]) -> int:
    given = arguments(argv)
    one_thread_each()
    with tempfile.TemporaryDirectory(prefix="metrics-") as name:
        try:
            extract(given, Path(name))
        except (ValueError, AssertionError, FileNotFoundError) as error:
            print(f"metrics: {error}", file=sys.stderr)
            return EX_DATAERR
        try:
            publish(Path(name), given.output)
        except OSError as error:
            print(f"metrics: cannot write below {given.output}: {error}", file=sys.stderr)
            return EX_CANTCREAT
    print(f"metrics: {given.pipeline} by {given.by} done")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
