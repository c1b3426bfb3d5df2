"""Speech recognition: one 16 kHz mono WAV in, one JSON transcript out.

The recording is cut at pauses by the recogniser's own voice activity detector and each piece is decoded with the
US-English model that the pocketsphinx wheel carries. Only one piece is in memory at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import wave
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pocketsphinx import Decoder, Endpointer, get_model_path

RATE = 16_000
SAMPLE_BYTES = 2

EX_DATAERR = 65
EX_CANTCREAT = 73


class UnusableRecording(Exception):
    """The input is not what the recogniser can read; the message says what it is instead."""


@dataclass(frozen=True)
class Piece:
    """Sound between two pauses; `start` is in seconds from the beginning of the recording."""

    start: float
    sound: bytes

    @property
    def end(self) -> float:
        return self.start + len(self.sound) / SAMPLE_BYTES / RATE


@dataclass(frozen=True)
class Word:
    """A recognised word; `confidence` is the posterior probability from 0 to 1."""

    word: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Segment:
    """What was understood of one piece."""

    start: float
    end: float
    text: str
    confidence: float
    words: list[Word]


def open_recording(path: Path) -> wave.Wave_read:
    """Opens the recording and checks the header; the data is checked as it is read."""
    try:
        recording = wave.open(str(path), "rb")
    except (wave.Error, EOFError) as error:
        raise UnusableRecording(f"not a PCM WAV file: {str(error) or 'it ends inside its header'}") from error
    shape = (recording.getframerate(), recording.getnchannels(), recording.getsampwidth())
    if shape != (RATE, 1, SAMPLE_BYTES):
        rate, channels, width = shape
        recording.close()
        raise UnusableRecording(f"{rate} Hz, {channels} channel(s), {8 * width} bit; needed: {RATE} Hz, 1 channel, 16 bit")
    return recording


def frames(recording: wave.Wave_read, size: int) -> Iterator[bytes]:
    """Yields `size` bytes at a time; raises when the file holds fewer samples than its header promises."""
    promised, read = recording.getnframes(), 0
    while read < promised:
        data = recording.readframes(min(size // SAMPLE_BYTES, promised - read))
        if not data:
            raise UnusableRecording(
                f"truncated: {read / RATE:.2f} s of sound, but the header promises {promised / RATE:.2f} s"
            )
        read += len(data) // SAMPLE_BYTES
        yield data


def pieces(recording: wave.Wave_read, aggressiveness: int, longest: float) -> Iterator[Piece]:
    """Cuts at pauses, and after `longest` seconds in any case: decoding time and memory grow with a piece's length."""
    endpointer = Endpointer(vad_mode=aggressiveness, sample_rate=RATE)
    sound = bytearray()
    start: float | None = None
    for frame in frames(recording, endpointer.frame_bytes):
        whole = len(frame) == endpointer.frame_bytes
        speech = endpointer.process(frame) if whole else endpointer.end_stream(frame)
        if speech is not None:
            start = endpointer.speech_start if start is None else start
            sound += speech
        if start is not None and (not endpointer.in_speech or len(sound) >= longest * RATE * SAMPLE_BYTES):
            piece = Piece(start, bytes(sound))
            start, sound = piece.end if endpointer.in_speech else None, bytearray()
            yield piece
    if start is not None:
        yield Piece(start, bytes(sound))


def make_decoder() -> Decoder:
    """A recogniser with the bundled acoustic model, dictionary and language model; quiet unless something is wrong."""
    return Decoder(
        hmm=get_model_path("en-us/en-us"),
        lm=get_model_path("en-us/en-us.lm.bin"),
        dict=get_model_path("en-us/cmudict-en-us.dict"),
        samprate=RATE,
        loglevel="FATAL",
    )


def is_spoken(word: str) -> bool:
    """Leaves out silence and noise marks such as <s>, <sil>, [NOISE] and ++breath++."""
    return not word.startswith(("<", "[", "+"))


def recognise(decoder: Decoder, piece: Piece) -> Segment | None:
    """Decodes one piece; None when no word was understood. Pronunciation marks such as "read(2)" are removed."""
    decoder.start_utt()
    decoder.process_raw(piece.sound, full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    rate = decoder.config["frate"]
    words = [
        Word(
            word=part.word.split("(")[0],
            start=round(piece.start + part.start_frame / rate, 3),
            end=round(piece.start + (part.end_frame + 1) / rate, 3),
            confidence=round(part.prob, 4),
        )
        for part in (decoder.seg() if hypothesis is not None else [])
        if is_spoken(part.word)
    ]
    if not words:
        return None
    mean = sum(word.confidence for word in words) / len(words)
    text = " ".join(word.word for word in words)
    return Segment(round(piece.start, 3), round(piece.end, 3), text, round(mean, 4), words)


def transcribe(source: Path, aggressiveness: int, longest: float) -> tuple[float, list[Segment]]:
    """Returns the recording's length in seconds and what was understood of it."""
    with open_recording(source) as recording:
        seconds = recording.getnframes() / RATE
        decoder = make_decoder()
        found = [recognise(decoder, piece) for piece in pieces(recording, aggressiveness, longest)]
    return seconds, [segment for segment in found if segment is not None]


def write_whole(path: Path, text: str) -> None:
    """The file appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".json-")
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


def document(recording: str, seconds: float, segments: list[Segment]) -> str:
    body = {
        "recording": recording,
        "duration": round(seconds, 3),
        "language": "en-us",
        "segments": [asdict(segment) for segment in segments],
    }
    return json.dumps(body, ensure_ascii=False, indent=1) + "\n"


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="transcribe", description="Write down what is said in a recording.")
    parser.add_argument("input", type=Path, help="16 kHz mono 16 bit WAV file")
    parser.add_argument("output", type=Path, help="JSON file to write")
    parser.add_argument("--vad", type=int, choices=range(4), default=0, help="how readily sound counts as a pause")
    parser.add_argument("--longest-segment", type=float, default=30.0, help="seconds after which a piece is cut")
    given = parser.parse_args(argv)
    if not 1 <= given.longest_segment <= 300:
        parser.error("argument --longest-segment: must be between 1 and 300 seconds")
    return given


def main(argv: list[str]) -> int:
    given = arguments(argv)
    try:
        seconds, segments = transcribe(given.input, given.vad, given.longest_segment)
    except (UnusableRecording, FileNotFoundError, IsADirectoryError, PermissionError) as error:
        print(f"pocketsphinx: cannot read {given.input}: {error}", file=sys.stderr)
        return EX_DATAERR
    try:
        write_whole(given.output, document(given.input.name, seconds, segments))
    except OSError as error:
        print(f"pocketsphinx: cannot write {given.output}: {error}", file=sys.stderr)
        return EX_CANTCREAT
    words = sum(len(segment.words) for segment in segments)
    print(f"pocketsphinx: {given.input.name}: {len(segments)} segments, {words} words in {seconds:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
