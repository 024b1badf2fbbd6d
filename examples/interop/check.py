"""Checks the outputs of bzdata with other people's readers.

    check.py write WORK    writes conversations for messages.yaml
    check.py check WORK    checks what run.sh made in WORK; exits 1 if anything differs

Data sets are opened as the networks' miners open them (load_dataset with name "default",
revision "main", split "train"), streaming and not, and compared row by row with the files
as pyarrow and json read them. Updates and bundles are opened with safetensors; the model
hash is computed anew by the networks' formula.
"""

import glob
import gzip
import hashlib
import json
import os
import sys

faults = 0


def check(what, ok, detail=""):
    """Prints one check and counts it if it failed."""
    global faults
    faults += not ok
    print(f"{'ok  ' if ok else 'FAIL'}  {what}{': ' + str(detail) if detail != '' else ''}")


def conversations():
    """Conversations of one to four turns; the last is an exact copy of the first."""
    rows = []
    for i in range(23):
        turns = [{"role": ("user", "assistant")[t % 2], "content": f'turn {t} of talk {i}: "{i * t}" \u00e9\u4e2d\n'}
                 for t in range(1 + i % 4)]
        rows.append({"messages": turns, "id": i})
    return rows + [{"messages": rows[0]["messages"], "id": 99}]


TYPED = {"score": "float64", "n": "int64", "ok": "bool", "when": "timestamp", "tags": "list<string>", "marks": "list<float64>"}


def typed_rows():
    """Records for typed.yaml; every seventh has values that fit no column."""
    rows = []
    for i in range(200):
        row = {"id": i, "text": f"Record {i} says \u00e9\u4e2d \U0001f600 and <b>{i * i}</b>.", "score": i / 8, "n": i - 100, "ok": i % 3 == 0,
               "when": f"2024-05-{1 + i % 28:02d}T12:00:{i % 60:02d}Z", "tags": [f"t{k}" for k in range(i % 4)], "marks": [i + 0.5, None]}
        if i % 7 == 0:
            row.update(score="high", n=1e300, ok=None, when="never", tags="t", marks=[[1]])
        keys = list(row)
        rows.append({k: row[k] for k in keys[i % len(keys):] + keys[:i % len(keys)]})
    return rows


def typed_lines():
    return [json.dumps(row, separators=(",", ":"), ensure_ascii=row["id"] % 2 == 0) for row in typed_rows()]


def write(work):
    os.makedirs(f"{work}/typed", exist_ok=True)
    with open(f"{work}/typed/rows.jsonl", "w", encoding="utf-8") as f:
        f.writelines(line + "\n" for line in typed_lines())
    os.makedirs(f"{work}/messages", exist_ok=True)
    with open(f"{work}/messages/talks.jsonl", "w", encoding="utf-8") as f:
        f.writelines(json.dumps(row, ensure_ascii=row["id"] % 2 == 0) + "\n" for row in conversations())


def files_of(folder):
    names = sorted(glob.glob(f"{folder}/data/train-*-of-*"))
    total = len(names)
    want = [f"train-{i:05d}-of-{total:05d}" for i in range(total)]
    check(f"{folder}: {total} files, numbered", total > 0 and [os.path.basename(n).split(".")[0] for n in names] == want)
    return names


def rows_of(name):
    """Rows of one file, by pyarrow or by json alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if name.endswith(".parquet"):
        return pq.read_table(name).to_pylist()
    if name.endswith(".zst"):
        with pa.input_stream(name, compression="zstd") as f:
            text = f.read().decode("utf-8")
    else:
        with (gzip.open if name.endswith(".gz") else open)(name, "rt", encoding="utf-8", newline="\n") as f:
            text = f.read()
    return [json.loads(line) for line in text.split("\n") if line]


def dataset(folder, field="text"):
    """Opens one exported folder in every way and returns its rows as they stand in the files."""
    from datasets import load_dataset
    from datasets.distributed import split_dataset_by_node

    names = files_of(folder)
    shards = [rows_of(n) for n in names]
    want = [row for shard in shards for row in shard]
    values = [row[field] for row in want]
    stream = load_dataset(folder, data_dir=None, streaming=True, name="default", revision="main", split="train")
    got = [row[field] for row in stream]
    check(f"{folder}: streaming, {len(got)} rows", got == values, f"{len(values)} in the files")
    check(f"{folder}: streaming sees every file", stream.n_shards == len(names), stream.n_shards)
    table = load_dataset(folder, data_dir=None, streaming=False, name="default", revision="main", split="train")
    check(f"{folder}: as a table, {len(table)} rows", list(table[field]) == values)
    world = len(names)
    node = [row[field] for row in split_dataset_by_node(stream, rank=1, world_size=world)]
    check(f"{folder}: node 1 of {world} reads the second file", node == [row[field] for row in shards[1]])
    parts = load_dataset(folder, data_dir=None, streaming=True, name="default", revision="main")
    check(f"{folder}: one split", list(parts) == ["train"], list(parts))
    return want


def drop_log(run):
    import pyarrow.parquet as pq

    with open(f"{run}/report.json", encoding="utf-8") as f:
        stages = [s["ledger"] for s in json.load(f)["stages"] if s.get("ledger") and s["stage"] != "held_out_set"]
    dropped = sum(sum(s.get("dropped", {}).values()) for s in stages)
    log = pq.read_table(f"{run}/drops/drops.parquet").to_pylist()
    check(f"{run}: drop log, {len(log)} rows", len(log) == dropped, f"the ledgers dropped {dropped}")
    lost = stages[0]["in"] - stages[0].get("rejected", 0) - stages[0].get("held_out", 0) - dropped - stages[-1]["kept"]
    check(f"{run}: every record is accounted for", lost == 0, f"{stages[0]['in']} records, {stages[-1]['kept']} kept")
    with open(f"{run}/rejects/rejects.jsonl", encoding="utf-8") as f:
        rejects = [json.loads(line) for line in f]
    check(f"{run}: malformed records are kept", len(rejects) == stages[0].get("rejected", 0)
          and all("raw" in r or "raw_base64" in r for r in rejects), len(rejects))


def sha256(name):
    with open(name, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def model_hash(tensors):
    """BLAKE2b of 24 bytes over sorted names, each followed by the tensor's bytes."""
    h = hashlib.blake2b(digest_size=24)
    for key in sorted(tensors):
        h.update(key.encode())
        h.update(tensors[key].tobytes())
    return h.hexdigest()


def model():
    import numpy as np
    from safetensors.numpy import load_file

    base = load_file("sample/base/model.safetensors")
    update = load_file("parquet/out/update/update.safetensors")
    check(f"update: {len(update)} tensors, all finite", len(update) > 0 and all(np.isfinite(t).all() for t in update.values()))
    check("base: opened", len(base) > len(update), f"{len(base)} tensors")
    folder = "parquet/out/bundle"
    with open(f"{folder}/manifest.json", encoding="utf-8") as f:
        manifest = json.load(f)
    for entry in manifest["files"]:
        name = os.path.join(folder, manifest["directory"], entry["name"])
        tensors = load_file(name)
        check(f"{entry['name']}: size", os.path.getsize(name) == entry["bytes"], entry["bytes"])
        check(f"{entry['name']}: sha256", sha256(name) == entry["sha256"], entry["sha256"])
        check(f"{entry['name']}: {len(tensors)} tensors", len(tensors) == manifest["tensors"])
        types = sorted({str(t.dtype) for t in tensors.values()})
        check(f"{entry['name']}: stored as {manifest['dtype']}", types == [{"F16": "float16", "F32": "float32"}[manifest["dtype"]]])
        check(f"{entry['name']}: model hash", model_hash(tensors) == manifest["hash"], manifest["hash"])
        check(f"{entry['name']}: the very bytes of the update",
              sha256(name) == sha256("parquet/out/update/update.safetensors"))
    with open("parquet/out/score.json", encoding="utf-8") as f:
        check("score.json", json.load(f)["verdict"]["outcome"] == "improves")


def typed():
    """Parquet with typed columns: as pyarrow, DuckDB and datasets see it, and back as JSONL."""
    import datetime
    import duckdb
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import load_dataset

    folder = "typed-parquet/out/data"
    names = files_of(folder)
    types = {"score": pa.float64(), "n": pa.int64(), "ok": pa.bool_(), "when": pa.timestamp("us", tz="UTC"),
             "tags": pa.list_(pa.string()), "marks": pa.list_(pa.float64()), "text": pa.string(), "extra": pa.string()}
    got = {}
    for name in names:
        schema = pq.read_schema(name)
        check(f"{name}: types of the columns", {f.name: f.type for f in schema} == types, schema.names)
        meta = pq.ParquetFile(name).metadata
        columns = [meta.row_group(g).column(c) for g in range(meta.num_row_groups) for c in range(meta.num_columns)]
        check(f"{name}: page indexes, zstd", all(c.has_offset_index and c.has_column_index and c.compression == "ZSTD" for c in columns))
        got.update((json.loads(r["extra"])["id"], r) for r in pq.read_table(name).to_pylist())
    check("typed: every record once", sorted(got) == [r["id"] for r in sorted(typed_rows(), key=lambda r: r["id"])], len(got))
    for row in typed_rows():
        want = {k: None if row["id"] % 7 == 0 else row[k] for k in TYPED} | {"text": row["text"]}
        if want["when"]:
            want["when"] = datetime.datetime.fromisoformat(want["when"].replace("Z", "+00:00"))
        have = {k: v for k, v in got[row["id"]].items() if k != "extra"}
        if have != want:
            check(f"typed: record {row['id']}", False, f"{have}, want {want}")
    files = f"{folder}/data/*.parquet"
    fit = [r for r in typed_rows() if r["id"] % 7]
    sums = duckdb.sql(f"select count(*), sum(score), sum(n), count(*) filter (ok), sum(len(tags)), count(distinct \"when\") from '{files}'").fetchall()[0]
    check("typed: DuckDB reads the columns", sums == (200, sum(r["score"] for r in fit), sum(r["n"] for r in fit), sum(r["ok"] for r in fit),
          sum(len(r["tags"]) for r in fit), len({r["when"] for r in fit})), sums)
    rows = duckdb.sql(f"select count(*), sum((extra->>'id')::int) from '{files}'").fetchall()[0]
    check("typed: DuckDB reads extra as JSON", rows == (200, sum(range(200))), rows)
    table = load_dataset(folder, split="train")
    check("typed: features of datasets", table.features["score"].dtype == "float64" and "timestamp" in table.features["when"].dtype
          and set(table.features) == set(types), table.features)
    lines = []
    for name in files_of("typed-jsonl/out/data"):
        with open(name, encoding="utf-8", newline="\n") as f:
            lines += f.read().splitlines()
    check("typed: back from Parquet to JSONL, byte for byte", sorted(lines) == sorted(typed_lines()), len(lines))


def main(work):
    os.chdir(work)
    typed()
    rows = dataset("parquet/out/data")
    texts = [row["text"] for row in rows]
    fields = [json.loads(row["extra"]) for row in rows]
    check("parquet: the other fields are JSON", all({"id", "question", "answer", "meta"} <= set(f) for f in fields))
    for run in ("jsonl", "jsonl.gz", "jsonl.zst"):
        other = dataset(f"{run}/out/data")
        check(f"{run}: the same texts in the same order as Parquet", [row["text"] for row in other] == texts)
        check(f"{run}: the same other fields", [{k: v for k, v in row.items() if k != "text"} for row in other] == fields)
    drop_log("parquet")

    want = {row["id"]: row["messages"] for row in conversations()[:-1]}
    for run in ("messages-parquet", "messages-jsonl"):
        rows = dataset(f"{run}/out/data", field="messages")
        ids = [json.loads(row["extra"])["id"] if "extra" in row else row["id"] for row in rows]
        check(f"{run}: every conversation once, turn by turn",
              sorted(ids) == sorted(want) and all(row["messages"] == want[i] for i, row in zip(ids, rows)), len(rows))
    model()
    print(f"{faults} checks failed" if faults else "all checks passed")
    return 1 if faults else 0


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("write", "check"):
        sys.exit(__doc__)
    if sys.argv[1] == "write":
        write(sys.argv[2])
    else:
        sys.exit(main(sys.argv[2]))
