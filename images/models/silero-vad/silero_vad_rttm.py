"""Voice activity detection: one 16 kHz mono WAV in, one RTTM file with the speech turns out.

The network is Silero VAD's ONNX model as its wheel ships it. The wheel's Python code needs torch, so only the weights
are used: the recording goes through the network in blocks of 16 seconds, the memory needed does not grow with its length.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

RATE = 16_000
FRAME = 512
CONTEXT = 64
BLOCK_FRAMES = 512
WEIGHTS = "data/silero_vad_16k_sequence.onnx"

EX_DATAERR = 65
EX_CANTCREAT = 73

Samples = npt.NDArray[np.float32]


class UnusableRecording(Exception):
    """The input is not what the model can read; the message says what it is instead."""


@dataclass(frozen=True)
class Rules:
    """How probabilities become turns; lengths are in samples."""

    threshold: float
    min_speech: int
    min_silence: int
    pad: int

    @property
    def exit_threshold(self) -> float:
        """A turn ends below this; the gap to `threshold` keeps a wavering probability from cutting it up."""
        return max(self.threshold - 0.15, 0.01)


@dataclass(frozen=True)
class Turn:
    """Speech from `start` to `end`, in samples."""

    start: int
    end: int


def open_recording(path: Path) -> wave.Wave_read:
    """Opens the recording and checks the header; the data is checked as it is read."""
    try:
        recording = wave.open(str(path), "rb")
    except (wave.Error, EOFError) as error:
        raise UnusableRecording(f"not a PCM WAV file: {str(error) or 'it ends inside its header'}") from error
    shape = (recording.getframerate(), recording.getnchannels(), recording.getsampwidth())
    if shape != (RATE, 1, 2):
        rate, channels, width = shape
        recording.close()
        raise UnusableRecording(f"{rate} Hz, {channels} channel(s), {8 * width} bit; needed: {RATE} Hz, 1 channel, 16 bit")
    return recording


def sample_blocks(recording: wave.Wave_read) -> Iterator[Samples]:
    """Yields the samples in [-1, 1); raises when the file holds fewer than its header promises."""
    promised, read = recording.getnframes(), 0
    while read < promised:
        data = recording.readframes(min(FRAME * BLOCK_FRAMES, promised - read))
        if not data:
            raise UnusableRecording(
                f"truncated: {read / RATE:.2f} s of sound, but the header promises {promised / RATE:.2f} s"
            )
        read += len(data) // 2
        yield np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2").astype(np.float32) / 32_768


def speech_probabilities(session: onnxruntime.InferenceSession, blocks: Iterator[Samples]) -> Samples:
    """One probability per 32 ms frame. State and context run on from block to block, so blocks leave no seam."""
    hidden = np.zeros((1, 1, 128), dtype=np.float32)
    cell = np.zeros((1, 1, 128), dtype=np.float32)
    context = np.zeros(CONTEXT, dtype=np.float32)
    probabilities: list[Samples] = []
    for samples in blocks:
        frames = np.zeros((-(-samples.size // FRAME), FRAME), dtype=np.float32)
        frames.reshape(-1)[: samples.size] = samples
        contexts = np.vstack((context[None], frames[:-1, -CONTEXT:]))
        context = frames[-1, -CONTEXT:].copy()
        feed = {"input": np.hstack((contexts, frames)), "h": hidden, "c": cell}
        values, hidden, cell = session.run(["speech_probs", "hn", "cn"], feed)
        probabilities.append(values.reshape(-1))
    return np.concatenate(probabilities) if probabilities else np.zeros(0, dtype=np.float32)


def find_turns(probabilities: Samples, total: int, rules: Rules) -> list[Turn]:
    """Hysteresis over the frames: a turn starts at `threshold` and ends where `min_silence` of quiet began."""
    turns: list[Turn] = []
    start: int | None = None
    quiet: int | None = None
    for index, probability in enumerate(probabilities):
        at = index * FRAME
        if probability >= rules.threshold:
            quiet = None
            if start is None:
                start = at
        elif start is not None and probability < rules.exit_threshold:
            quiet = at if quiet is None else quiet
            if at - quiet >= rules.min_silence:
                turns.append(Turn(start, quiet))
                start = quiet = None
    if start is not None:
        turns.append(Turn(start, total))
    return [turn for turn in turns if turn.end - turn.start > rules.min_speech]


def pad_turns(turns: list[Turn], total: int, pad: int) -> list[Turn]:
    """Widens each turn by `pad`; neighbours that would overlap meet in the middle of their gap."""
    padded: list[Turn] = []
    for index, turn in enumerate(turns):
        before = turn.start - turns[index - 1].end if index > 0 else None
        after = turns[index + 1].start - turn.end if index + 1 < len(turns) else None
        left = pad if before is None or before >= 2 * pad else before // 2
        right = pad if after is None or after >= 2 * pad else after // 2
        padded.append(Turn(max(0, turn.start - left), min(total, turn.end + right)))
    return padded


def rttm(turns: list[Turn], recording: str) -> str:
    """RTTM text; fields are separated by blanks, so blanks in the recording's name become underscores."""
    name = "_".join(recording.split()) or "recording"
    return "".join(
        f"SPEAKER {name} 1 {turn.start / RATE:.3f} {(turn.end - turn.start) / RATE:.3f} <NA> <NA> SPEECH <NA> <NA>\n"
        for turn in turns
    )


def write_whole(path: Path, text: str) -> None:
    """The file appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".rttm-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o664)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load_model() -> onnxruntime.InferenceSession:
    """Opens the weights beside the silero_vad package without importing it: the import would need torch."""
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the silero_vad package is not installed: the image was built without its weights")
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    options.log_severity_level = 3
    weights = Path(spec.submodule_search_locations[0]) / WEIGHTS
    return onnxruntime.InferenceSession(str(weights), sess_options=options, providers=["CPUExecutionProvider"])


def detect(source: Path, rules: Rules) -> list[Turn]:
    """Reads a recording and returns its padded turns."""
    with open_recording(source) as recording:
        total = recording.getnframes()
        probabilities = speech_probabilities(load_model(), sample_blocks(recording))
    return pad_turns(find_turns(probabilities, total, rules), total, rules.pad)


def fraction(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not between 0 and 1")
    return value


def milliseconds(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 60_000:
        raise argparse.ArgumentTypeError(f"'{text}' is not between 0 and 60000")
    return value * RATE // 1000


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="silero_vad_rttm", description="Find speech in a recording.")
    parser.add_argument("input", type=Path, help="16 kHz mono 16 bit WAV file")
    parser.add_argument("output", type=Path, help="RTTM file to write")
    parser.add_argument("--threshold", type=fraction, default=0.5, help="probability from which a frame is speech")
    parser.add_argument("--min-speech-ms", type=milliseconds, default=250 * 16, help="shorter turns are dropped")
    parser.add_argument("--min-silence-ms", type=milliseconds, default=100 * 16, help="shorter pauses do not end a turn")
    parser.add_argument("--pad-ms", type=milliseconds, default=30 * 16, help="added on both sides of a turn")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    given = arguments(argv)
    rules = Rules(given.threshold, given.min_speech_ms, given.min_silence_ms, given.pad_ms)
    try:
        turns = detect(given.input, rules)
    except (UnusableRecording, FileNotFoundError, IsADirectoryError, PermissionError) as error:
        print(f"silero-vad: cannot read {given.input}: {error}", file=sys.stderr)
        return EX_DATAERR
    try:
        write_whole(given.output, rttm(turns, given.input.stem))
    except OSError as error:
        print(f"silero-vad: cannot write {given.output}: {error}", file=sys.stderr)
        return EX_CANTCREAT
    seconds = sum(turn.end - turn.start for turn in turns) / RATE
    print(f"silero-vad: {given.input.name}: {len(turns)} turns, {seconds:.1f} s of speech")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
