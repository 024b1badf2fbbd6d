"""What a driver tells the measuring program: one JSON object, the last line of its output."""

import contextlib
import json
import time
from importlib.metadata import version

_told = {"phases": {}, "walls": {}}


def started(*packages):
    """Call when modules and models are loaded and the work begins."""
    _told["startup"] = time.process_time()
    _told["version"] = ", ".join(f"{name} {version(name)}" for name in packages)


@contextlib.contextmanager
def phase(name):
    """Measures the processor and wall time of a named part of the work."""
    begin, started = time.process_time(), time.perf_counter()
    yield
    _told["phases"][name] = _told["phases"].get(name, 0) + time.process_time() - begin
    _told["walls"][name] = _told["walls"].get(name, 0) + time.perf_counter() - started


def done(**facts):
    """Call at the end: rows, kept, bytes."""
    print(json.dumps(_told | facts), flush=True)


def read(path):
    """Returns the ids and texts of a JSONL file, read by orjson as the fastest that Python has."""
    import orjson

    ids, texts = [], []
    with open(path, "rb") as lines:
        for line in lines:
            row = orjson.loads(line)
            ids.append(row["id"])
            texts.append(row["text"])
    return ids, texts


def write_ids(path, ids):
    """Writes the ids of the documents that are kept, one line {"id"} each."""
    with open(path, "w") as out:
        for i in ids:
            out.write(json.dumps({"id": i}) + "\n")
