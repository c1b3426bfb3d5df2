"""Takes one task from a Redis queue, counts words, reports, and ends: what a worker of the labs does.

The names of files in the dataset make it misbehave; the README beside this file lists them.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import redis

POLL_SECONDS = 1
INPUTS = "recordings/converted/standard"

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(message)s")
log = logging.getLogger("worker")


def connect() -> redis.Redis:
    return redis.Redis(host=os.environ.get("REDIS_HOST", "localhost"), port=int(os.environ.get("REDIS_PORT", 6379)))


class Queue:
    """A list of messages; every queue has a connection of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.client = connect()

    def take(self) -> dict | None:
        item = self.client.rpop(self.name)
        return None if item is None else json.loads(item)

    def put(self, message: dict) -> None:
        self.client.lpush(self.name, json.dumps(message))


@dataclass(frozen=True)
class Task:
    """What a worker is asked to do. Anything that is no UUID is refused, as the labs' code does."""

    task_id: UUID
    dataset_uid_label: str
    operation: str
    directory: Path | None
    resume: bool

    @staticmethod
    def parse(message: dict) -> "Task":
        directory = message.get("directory")
        UUID(message["dataset_uid_label"].split("_")[-1])
        return Task(
            task_id=UUID(message["task_id"]),
            dataset_uid_label=message["dataset_uid_label"],
            operation=message["operation"],
            directory=Path(directory) if directory else None,
            resume=message.get("resume", True),
        )


class Worker:
    def __init__(self) -> None:
        self.datasets = existing("DATASETS_DIR")
        existing("ECHOLALIA_DIR")
        self.queue = Queue(os.environ.get("QUEUE", "run_word_count"))
        self.completed = Queue("complete_task")
        self.failed = Queue("fail_task")
        self.publisher = connect()
        self.subscription = self.publisher.pubsub(ignore_subscribe_messages=True)
        self.subscription.subscribe(*[])

    def run(self) -> None:
        task = Task.parse(self.wait())
        log.info("task %s: %s on %s", task.task_id, task.operation, task.dataset_uid_label)
        dataset = self.datasets / task.dataset_uid_label
        if (dataset / "extra" / "die").exists():
            os._exit(1)  # not a signal: process 1 of a container is deaf to its own
        try:
            self.work(task, dataset)
        except Exception as error:
            log.exception("Unhandled error while running task.")
            self.failed.put({"task_id": str(task.task_id), "reason": str(error)})
            raise

    def wait(self) -> dict:
        while (message := self.queue.take()) is None:
            time.sleep(POLL_SECONDS)
        return message

    def work(self, task: Task, dataset: Path) -> None:
        if not dataset.exists():
            self.failed.put({"task_id": str(task.task_id), "reason": f"Dataset directory not found: '{dataset}'."})
            return
        output = dataset / "outputs" / str(task.task_id)
        root = dataset / INPUTS
        texts = sorted(root.rglob("*.txt"))
        if task.directory:
            texts = [text for text in texts if text.is_relative_to(task.directory)]
        failures = 0
        for done, text in enumerate(texts, start=1):
            try:
                self.process(task, text, output / "raw" / text.relative_to(root))
                self.publish(task, done, len(texts))
            except ValueError:
                failures += 1
                log.exception("Failed to process %s", text)
        if texts and failures == len(texts):
            self.failed.put({"task_id": str(task.task_id), "reason": f"All {failures} group(s) failed to process."})
            return
        output.mkdir(parents=True, exist_ok=True)
        (output / "metannots.yml").write_text("annotation_algorithm_version: latest\n")
        self.completed.put({"task_id": str(task.task_id)})

    def process(self, task: Task, text: Path, output: Path) -> None:
        behaviour = re.split(r"[_ .-]", text.name)[0]
        if behaviour == "fail":
            raise ValueError(f"cannot count the words of {text.name}")
        if behaviour == "raise":
            raise RuntimeError(f"nobody expected {text.name}")
        if behaviour == "quit":
            sys.exit(0)
        if behaviour == "old":
            self.completed.put({"task_id": str(task.task_id), "progress": 1.0})
            sys.exit(0)
        if behaviour == "slow":
            time.sleep(4)
        if behaviour == "lie":
            return
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(f"Word count: {len(text.read_text().split())}\n")

    def publish(self, task: Task, done: int, total: int) -> None:
        progress = {
            "task_id": str(task.task_id),
            "completed_progress": done / total,
            "completed_pass_effort": float(done),
            "partial_pass_progress": done / total,
            "partial_pass_effort": float(done),
            "total_effort": float(total),
            "completed_passes": done,
            "total_passes": total,
        }
        self.publisher.publish("update_status", json.dumps(progress))


def existing(variable: str) -> Path:
    path = Path(os.environ[variable])
    if not path.exists():
        raise ValueError(f"Env var '{variable}' corresponds to non-existent path")
    return path


if __name__ == "__main__":
    Worker().run()
