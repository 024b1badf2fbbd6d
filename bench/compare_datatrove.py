"""Compares presets of the quality stage with datatrove's filters, row for row: see compare-datatrove."""

import argparse
import collections
import gzip
import importlib.metadata  # datatrove needs it loaded
import json
import pathlib
import resource
import subprocess
import sys
import time

import pyarrow.parquet
from datatrove.data import Document
from datatrove.pipeline.filters import (C4QualityFilter, FineWebQualityFilter, GopherQualityFilter,
                                        GopherRepetitionFilter)

PRESETS = {
    "gopher-datatrove": [GopherRepetitionFilter, GopherQualityFilter],
    "fineweb": [FineWebQualityFilter],
    "c4-datatrove": [C4QualityFilter],
}


def read(paths, column, limit):
    """Yields the texts of the files; rows without one are left out."""
    count = 0
    for path in paths:
        for value in rows(path, column):
            if isinstance(value, str) and encodable(value):
                yield value
                count += 1
                if count == limit:
                    return


def rows(path, column):
    if path.endswith(".parquet"):
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(columns=[column]):
            yield from batch.column(0).to_pylist()
        return
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            yield row.get(column) if isinstance(row, dict) else None


def encodable(text):
    """Reports whether text has no lone surrogates, which UTF-8 cannot hold."""
    try:
        text.encode("utf-8")
        return True
    except UnicodeEncodeError:
        return False


def datatrove(preset, texts):
    """Returns (reason or None, text) for each row, and the seconds in the filters."""
    filters, out = [make() for make in PRESETS[preset]], []
    for f in filters:  # the first call loads the tokenizer
        f.filter(Document(text="One two three. Four five six.", id="warm"))
    start = time.process_time()
    for text in texts:
        out.append(judge(filters, text))
    return out, time.process_time() - start


def judge(filters, text):
    doc = Document(text=text, id="0")
    for f in filters:
        try:
            result = f.filter(doc)
        except ZeroDivisionError:
            return "datatrove fails: ZeroDivisionError", text
        if result is not True:
            return result[1], text
    return None, doc.text


def bzdata(args, preset, texts):
    """Returns (reason or None, text) for each row, and the CPU seconds per copy of the rows of runs with and
    without the stage."""
    work = args.work / preset
    work.mkdir()
    lines = "".join(json.dumps({"row": row, "text": text}, ensure_ascii=False) + "\n" for row, text in enumerate(texts))
    copies = 1 + int(args.bytes / max(1, len(lines.encode())))  # so that starting up does not count
    with open(work / "rows.jsonl", "w", encoding="utf-8") as f:
        for _ in range(copies):
            f.write(lines)
    plan = "name: p\nmax_reject_fraction: 0\ninput: [{path: rows.jsonl}]\nstages:\n  - %s\n  - export: {format: jsonl}\n"
    seconds = {}
    for name, step in (("with", "quality: {preset: %s}" % preset), ("without", "normalize: {nfc: false, line_endings: false, "
                       "controls: false, zero_width: false, spaces: false, trailing_spaces: false, blank_lines: false, trim: false}")):
        (work / (name + ".yaml")).write_text(plan % step)
        command = [args.bzdata, "run", name + ".yaml", "--workdir", name, "--workers", "1", "--progress", "none"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, cwd=work, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds[name] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if done.returncode not in (0, 3):  # 3: no document is left
            sys.exit(done.stderr)
    out = [("lost", "")] * len(texts)
    for file in (work / "with" / "out" / "data").rglob("*.jsonl"):
        for line in open(file, encoding="utf-8"):
            kept = json.loads(line)
            out[kept["row"]] = (None, kept["text"])
    for file in (work / "with" / "drops").glob("*.parquet"):
        for drop in pyarrow.parquet.read_table(file).to_pylist():
            row = int(drop["row"]) % len(texts)
            out[row] = (drop["reason"], texts[row])
    return out, {name: s / copies for name, s in seconds.items()}


def known(text, theirs, ours):
    """Names the bug that explains a difference, or None."""
    if theirs[0] == "datatrove fails: ZeroDivisionError" and ours[0] is not None and text == "":
        return "datatrove divides by the length of an empty text"
    if "IS_ALPHA" in text:
        return "spaCy fails on the word IS_ALPHA, and datatrove deletes it"
    return None


def compare(args, preset, texts):
    theirs, their_seconds = datatrove(preset, texts)
    ours, our_seconds = bzdata(args, preset, texts)
    size, differ, explained = sum(len(t.encode()) for t in texts) / 1e6, [], collections.Counter()
    for row, (text, a, b) in enumerate(zip(texts, theirs, ours)):
        if a == b:
            continue
        bug = known(text, a, b)
        if bug:
            explained[bug] += 1
        else:
            differ.append((row, a, b, text))
    print("%s: %d rows, %.1f MB of text" % (preset, len(texts), size))
    print("  datatrove keeps %d, bzdata %d; %d rows differ" % (
        sum(a[0] is None for a in theirs), sum(b[0] is None for b in ours), len(differ) + sum(explained.values())))
    for bug, count in explained.items():
        print("    %d explained: %s" % (count, bug))
    for row, a, b, text in differ[:args.show]:
        say = [x[0] or ("kept" if a[0] != b[0] else "kept as %r" % x[1][:200]) for x in (a, b)]
        print("    row %d: datatrove %s, bzdata %s: %r" % (row, say[0], say[1], text[:120]))
    print("  reasons: " + (", ".join("%s %d" % r for r in collections.Counter(
        b[0] for b in ours if b[0]).most_common()) or "none"))
    print("  datatrove, its filters alone: %.2f s of CPU time, %.2f MB/s per core" % (their_seconds, size / their_seconds))
    whole, stage = our_seconds["with"], max(1e-9, our_seconds["with"] - our_seconds["without"])
    for what, seconds in (("the whole run, reading and writing included", whole), ("the stage, by a run without it", stage)):
        print("  bzdata, %s: %.2f s of CPU time, %.1f MB/s per core, %.0f times as fast" % (
            what, seconds, size / seconds, their_seconds / seconds))
    return len(differ)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--text", default="text")
    p.add_argument("--preset", action="append", choices=list(PRESETS))
    p.add_argument("--limit", type=int, default=0)
    p.add_argument("--show", type=int, default=20)
    p.add_argument("--bytes", type=float, default=64e6, help="repeat the rows for bzdata to about so many bytes")
    p.add_argument("--bzdata", required=True, help=argparse.SUPPRESS)
    p.add_argument("--work", required=True, type=pathlib.Path, help=argparse.SUPPRESS)
    p.add_argument("files", nargs="+")
    args = p.parse_args()
    texts = list(read(args.files, args.text, args.limit))
    sys.exit(1 if sum([compare(args, preset, texts) for preset in args.preset or PRESETS]) else 0)


main()
