"""Makes the fixtures of the tests in this folder with the libraries that own the formats.

    pip install tensorboard==2.21.0 prometheus_client==0.26.0 wandb==0.24.2
    python make.py

rows.jsonl is the input. events and run.wandb are made by tensorboard's and W&B's own writers (wandb
0.24 is the last that has its datastore in Python); rows.csv and rows.prom are text whose numbers may be
written in several ways, so they are only read back and compared.
"""

import csv
import json
import os
from datetime import datetime

import wandb

wandb._assert_is_internal_process = True
from prometheus_client.parser import text_string_to_metric_families
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from wandb.proto import wandb_internal_pb2 as pb
from wandb.sdk.internal.datastore import DataStore

os.chdir(os.path.dirname(os.path.abspath(__file__)))


class Number(float):
    """A number that knows how it was written."""

    def __new__(cls, text):
        self = super().__new__(cls, text)
        self.text = text
        return self


with open("rows.jsonl", encoding="utf-8") as f:
    rows = [json.loads(line, parse_float=Number) for line in f]


def seconds(row):
    return datetime.fromisoformat(row["time"].replace("Z", "+00:00")).timestamp()


def numbers(row):
    return {k: v for k, v in row.items() if k not in ("step", "time", "moe/expert_load")}


with open("events", "wb") as f:
    w = RecordWriter(f)
    w.write(Event(wall_time=seconds(rows[0]), file_version="brain.Event:2").SerializeToString())
    for row in rows:
        values = [Summary.Value(tag=k, simple_value=v) for k, v in numbers(row).items()]
        w.write(Event(wall_time=seconds(row), step=row["step"], summary=Summary(value=values)).SerializeToString())
    w.flush()

if os.path.exists("run.wandb"):
    os.remove("run.wandb")
store = DataStore()
store.open_for_write("run.wandb")
count = 0


def put(**content):
    global count
    count += 1
    store.write(pb.Record(num=count, **content))


def text(x):
    if isinstance(x, Number):
        return x.text
    return str(int(x)) if x == int(x) and abs(x) < 1e21 else repr(x)


put(header=pb.HeaderRecord(version_info=pb.VersionInfo(producer="bzdata", min_consumer="0.70.0")))
run = pb.RunRecord(run_id="3rlmozb0", project="blockzero-miner", display_name="math-0123abcd",
                   host="miner-1")
run.config.update.add(key="batch_size", value_json="4")
run.config.update.add(key="schedule", value_json='"cosine"')
start = seconds(rows[0])
run.start_time.seconds, run.start_time.nanos = int(start), round(start % 1 * 1000) * 1000000
put(run=run)
for row in rows:
    items = numbers(row) | {"_step": row["step"], "_timestamp": seconds(row),
                            "_runtime": round(seconds(row) * 1000 - start * 1000) / 1000}
    summary, history = pb.SummaryRecord(), pb.HistoryRecord()
    for k, v in items.items():
        summary.update.add(nested_key=[k], value_json=text(v))
        history.item.add(nested_key=[k], value_json=text(v))
    history.step.num = row["step"]
    put(summary=summary)
    put(history=history)
put(exit=pb.RunExitRecord(runtime=int(seconds(rows[-1]) - start)))
store.close()

newest = {}
for row in rows:
    newest |= row
with open("rows.prom", encoding="utf-8") as f:
    found = {(s.name, *sorted(s.labels.items())): s.value for m in text_string_to_metric_families(f.read()) for s in m.samples}
label = ("run", 'a "quoted\\" name')
assert found["miner_training_loss", ("expert_group", "0"), label] == newest["train/loss"], found
assert found["miner_learning_rate", label] == newest["train/learning_rate"]
assert found["miner_step", label] == rows[-1]["step"]
for layer, counts in newest["moe/expert_load"].items():
    for expert, n in enumerate(counts):
        assert found["moe_expert_load", ("expert_idx", str(expert)), ("layer_idx", layer), label] == n
with open("rows.csv", encoding="utf-8", newline="") as f:
    table = list(csv.DictReader(f))
assert [int(r["step"]) for r in table] == [r["step"] for r in rows]
for got, row in zip(table, rows):
    for column, name in {"loss": "train/loss", "lr": "train/learning_rate", "grad_norm": "train/gradient_norm",
                         "rank_in_group": "chain/rank_in_group"}.items():
        assert (float(got[column]) if got[column] else None) == row.get(name), (column, got, row)
print(f"{len(rows)} rows, {count} records of W&B")
