"""Pitch and amplitude of every segment of an annotation set, with ChildProject's AcousticDerivator.

    acoustics.py DATASET ANNOTATIONS OUTPUT

ANNOTATIONS is DATASET/annotations/SET/converted or a directory below it. Writes OUTPUT/raw/RECORDING.csv, one file for
each recording with annotations there. The call is the one of the labs' own worker; what the worker does around it is
done here so that a read-only dataset suffices and no recording's result is lost.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from limits import one_thread_each, processors

EX_DATAERR = 65
EX_CANTCREAT = 73
BAKED_CACHE = Path("/app/numba-cache")
CONVERTED = "converted"


class UnusableDataset(Exception):
    """Nothing can be derived; the message says why and what to do."""


@dataclass(frozen=True)
class Source:
    """The annotations to derive from: a set, and a directory below its converted/ ("" for all)."""

    dataset: Path
    name: str
    below: str


def find_source(dataset: Path, annotations: Path) -> Source:
    """Takes the set's name from the path of its converted annotations."""
    parts = annotations.relative_to(dataset).parts if annotations.is_relative_to(dataset) else ()
    if len(parts) < 3 or parts[0] != "annotations" or CONVERTED not in parts[2:]:
        raise UnusableDataset(f"{annotations} is not {dataset}/annotations/SET/{CONVERTED} or a directory below it")
    end = parts.index(CONVERTED, 2)
    return Source(dataset, "/".join(parts[1:end]), "/".join(parts[end + 1 :]))


def view_of(dataset: Path, place: Path) -> Path:
    """The dataset through links, with an `extra` of its own: ChildProject writes its list of errors there."""
    for name in ("metadata", "recordings", "annotations"):
        (place / name).symlink_to(dataset / name)
    (place / "extra").mkdir()
    return place


def derive(source: Source, scratch: Path, processes: int) -> dict[str, str]:
    """Derives into scratch/derived. Returns recording -> why it has no result."""
    from ChildProject.annotations import AnnotationManager
    from ChildProject.pipelines.derivations import AcousticDerivator
    from ChildProject.projects import ChildProject

    (scratch / "view").mkdir()
    manager = AnnotationManager(ChildProject(view_of(source.dataset, scratch / "view")))
    wanted, problems = choose(manager, source)
    manager.annotations = wanted
    if wanted.empty:
        return problems
    derived = scratch / "derived"
    derived.mkdir()
    _, errors = manager._derive_annotations(
        source.name,
        str(derived),
        AcousticDerivator(),
        threads=min(processes, len(wanted)),
        overwrite_existing=True,
        output_as_path=True,
    )
    failed = [] if errors is None else errors.to_dict(orient="records")
    return problems | {row["recording_filename"]: last_line(row["error"]) for row in failed}


def choose(manager, source: Source):
    """The rows of the index to derive. One that ChildProject would stumble over ends all others, so it is told apart."""
    index = manager.annotations
    rows = index[index["set"] == source.name]
    prefix = f"{source.below}/" if source.below else ""
    rows = rows[rows["annotation_filename"].astype(str).str.startswith(prefix)]
    if rows.empty:
        raise UnusableDataset(
            f"metadata/annotations.csv has no annotations of set {source.name!r}: import the set with ChildProject"
        )
    converted = source.dataset / "annotations" / source.name / CONVERTED
    recordings = set(manager.project.recordings["recording_filename"])
    problems: dict[str, str] = {}
    for row in rows.itertuples():
        if not (converted / row.annotation_filename).is_file():
            problems[row.recording_filename] = f"{row.annotation_filename} is in the index, but not in {converted}"
        elif row.recording_filename not in recordings:
            problems[row.recording_filename] = "is not in metadata/recordings.csv"
    return rows[~rows["recording_filename"].isin(problems)].copy(), problems


def last_line(trace: str) -> str:
    return next((line for line in reversed(trace.splitlines()) if line.strip()), "unknown error")


def publish(derived: Path, output: Path, failed: set[str]) -> int:
    """Moves RECORDING_ONSET_OFFSET.csv to raw/RECORDING.csv; several ranges of a recording become one file, in order."""
    by_recording: dict[str, list[tuple[int, Path]]] = {}
    for file in sorted(derived.rglob("*.csv")):
        recording, onset, _ = file.relative_to(derived).with_suffix("").as_posix().rsplit("_", 2)
        by_recording.setdefault(recording, []).append((int(onset), file))
    done = 0
    stems = {os.path.splitext(name)[0] for name in failed}
    for recording, ranges in by_recording.items():
        if recording in stems:
            continue
        target = output / "raw" / f"{recording}.csv"
        target.parent.mkdir(parents=True, exist_ok=True)
        join([file for _, file in sorted(ranges)], target)
        done += 1
    return done


def join(files: list[Path], target: Path) -> None:
    """One file is copied as it is; the rows of several stand under the union of their columns."""
    partial = target.with_name(f".{target.name}.partial")
    if len(files) == 1:
        shutil.copyfile(files[0], partial)
    else:
        tables = []
        for file in files:
            with file.open(newline="", encoding="utf-8") as text:
                reader = csv.DictReader(text)
                tables.append((reader.fieldnames or [], list(reader)))
        columns = list(dict.fromkeys(column for names, _ in tables for column in names))
        with partial.open("w", newline="", encoding="utf-8") as text:
            writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
            writer.writeheader()
            for _, rows in tables:
                writer.writerows(rows)
    os.chmod(partial, 0o664)
    os.replace(partial, target)


def use_baked_cache(scratch: Path) -> None:
    """librosa's compiled functions come with the image; numba wants to be able to write beside them."""
    cache = scratch / "numba"
    if BAKED_CACHE.is_dir():
        shutil.copytree(BAKED_CACHE, cache, copy_function=shutil.copyfile)
    os.environ["NUMBA_CACHE_DIR"] = str(cache)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="acoustics", description="Acoustic features of annotated segments.")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("annotations", type=Path, help="DATASET/annotations/SET/converted or a directory below it")
    parser.add_argument("output", type=Path)
    given = parser.parse_args(argv)
    one_thread_each()
    processes = processors()
    with tempfile.TemporaryDirectory(prefix="acoustics-") as name:
        scratch = Path(name)
        use_baked_cache(scratch)
        try:
            problems = derive(find_source(given.dataset, given.annotations), scratch, processes)
        except (UnusableDataset, FileNotFoundError) as error:
            print(f"acoustics: {error}", file=sys.stderr)
            return EX_DATAERR
        for recording, problem in sorted(problems.items()):
            print(f"acoustics: {recording}: {problem}", file=sys.stderr)
        try:
            done = publish(scratch / "derived" / CONVERTED, given.output, set(problems))
        except OSError as error:
            print(f"acoustics: cannot write below {given.output}: {error}", file=sys.stderr)
            return EX_CANTCREAT
    print(f"acoustics: {done} recordings, {len(problems)} failed, {processes} processes at most")
    # With some of them done it is for the operator to say how many may be missing.
    return 0 if done > 0 else EX_DATAERR


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
