"""Compares the metrics of a run, as their owners' programs read them, with its JSON lines.

    metrics.py WORKDIR STEPS    exits 1 if anything differs
"""

import csv
import glob
import gzip
import http.server
import json
import os
import struct
import subprocess
import sys
import threading
from datetime import datetime

faults = 0


def check(what, ok, detail=""):
    """Prints one check and counts it if it failed."""
    global faults
    faults += not ok
    print(f"{'ok  ' if ok else 'FAIL'}  {what}{': ' + str(detail) if detail != '' else ''}")


def one(pattern):
    names = glob.glob(pattern)
    check(f"{pattern}: one file", len(names) == 1, names if len(names) != 1 else "")
    return names[0]


def seconds(row):
    return datetime.fromisoformat(row["time"].replace("Z", "+00:00")).timestamp()


def numbers(row):
    return {k: v for k, v in row.items() if k not in ("step", "time", "moe/expert_load")}


def single(x):
    """A number as TensorBoard stores it, in 32 bits."""
    return struct.unpack("<f", struct.pack("<f", x))[0]


def lines(steps):
    with open(one("metrics/*.jsonl"), encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    check(f"JSON lines: each step once, and the verdict", [r["step"] for r in rows] == list(range(steps + 2)), len(rows))
    check("JSON lines: every step has a loss and a load",
          all("train/loss" in r and "moe/expert_load" in r for r in rows[1:steps + 1]))
    check("JSON lines: the verdict", {"chain/w_i_score", "chain/rank_in_group", "proof/val_loss"} <= set(rows[-1]), numbers(rows[-1]))
    return rows


def table(rows):
    """CSV: a column is the number of one name, or of the first that is there, over a scale."""
    columns = {"lr": ("train/learning_rate", 1), "total_samples": ("train/samples", 1), "total_tokens": ("train/tokens", 1),
               "inner_step_time_hours": ("train/step_seconds", 3600), "total_training_time_hours": ("train/seconds", 3600),
               "tokens_per_second": ("train/tokens_per_second", 1), "loss": ("train/loss", 1), "perplexity": ("train/perplexity", 1),
               "aux_loss": ("moe/aux_loss", 1), "val_loss": ("val/loss proof/val_loss", 1), "grad_norm": ("train/gradient_norm", 1),
               "loss_reduction": ("train/loss_reduction proof/loss_reduction", 1), "val_loss_reduction": ("val/loss_reduction", 1),
               "non_finite": ("train/non_finite", 1), "w_i_score": ("chain/w_i_score", 1), "rank_in_group": ("chain/rank_in_group", 1),
               "experts_active_count": ("moe/experts_active_count", 1),
               "expert_utilization_ratio": ("moe/expert_utilization_ratio", 1), "routing_entropy": ("moe/topk_routing_entropy", 1)}
    with open(one("metrics/*.csv"), encoding="utf-8", newline="") as f:
        got = list(csv.DictReader(f))
    check("CSV: rows", [int(r["step"]) for r in got] == [r["step"] for r in rows], len(got))
    compared, wrong = 0, []
    for have, row in zip(got, rows):
        for column, (names, scale) in columns.items():
            want = next((row[n] / scale for n in names.split() if n in row), None)
            compared += want is not None
            if (float(have[column]) if have[column] else None) != want:
                wrong.append((row["step"], column, have[column], want))
    check(f"CSV: {compared} numbers are equal", not wrong, wrong[:3] or "")


def tensorboard(rows):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = os.path.dirname(one("metrics/tensorboard/*/events.out.tfevents.*"))
    events = EventAccumulator(folder, size_guidance={"scalars": 0})
    events.Reload()
    tags = set(events.Tags()["scalars"])
    check("TensorBoard: tags", tags == set().union(*(numbers(r) for r in rows)), len(tags))
    compared, wrong = 0, []
    for tag in sorted(tags):
        got = [(e.step, e.wall_time, e.value) for e in events.Scalars(tag)]
        want = [(r["step"], seconds(r), single(r[tag])) for r in rows if tag in r]
        compared += len(want)
        if got != want:
            wrong.append((tag, got[:2], want[:2]))
    check(f"TensorBoard: {compared} numbers are equal, in 32 bits", not wrong, wrong[:2] or "")


def prometheus(rows):
    from prometheus_client.parser import text_string_to_metric_families

    newest = {}
    for row in rows:
        newest |= row
    names = {"miner_training_loss": "train/loss", "miner_loss_reduction": "train/loss_reduction", "miner_perplexity": "train/perplexity",
             "miner_learning_rate": "train/learning_rate", "miner_gradient_norm": "train/gradient_norm",
             "miner_tokens_per_sec": "train/tokens_per_second", "miner_total_tokens": "train/tokens",
             "miner_total_samples": "train/samples", "miner_non_finite_count": "train/non_finite", "miner_val_loss": "val/loss",
             "miner_val_loss_reduction": "val/loss_reduction", "miner_proof_val_loss": "proof/val_loss",
             "miner_proof_loss_reduction": "proof/loss_reduction", "miner_w_i_score": "chain/w_i_score",
             "miner_rank_in_group": "chain/rank_in_group", "moe_aux_loss": "moe/aux_loss", "moe_experts_active_count": "moe/experts_active_count",
             "moe_topk_routing_entropy": "moe/topk_routing_entropy"}
    with open(one("metrics/*.prom"), encoding="utf-8") as f:
        families = list(text_string_to_metric_families(f.read()))
    check("Prometheus: every family is a gauge with a help text", all(m.type == "gauge" and m.documentation for m in families), len(families))
    samples = [s for m in families for s in m.samples]
    got = {s.name: s.value for s in samples if "layer_idx" not in s.labels}
    wrong = [(m, got.get(m), newest.get(n)) for m, n in names.items() if got.get(m) != newest.get(n)]
    check(f"Prometheus: {len(names)} numbers are equal", not wrong, wrong or "")
    load = {(s.labels["layer_idx"], s.labels["expert_idx"]): s.value for s in samples if s.name == "moe_expert_load"}
    want = {(layer, str(e)): n for layer, counts in newest["moe/expert_load"].items() for e, n in enumerate(counts)}
    check(f"Prometheus: load of {len(want)} experts", load == want)
    check("Prometheus: step and time", (got["miner_step"], got["miner_step_timestamp_seconds"]) == (rows[-1]["step"], seconds(rows[-1])))


class Server(http.server.ThreadingHTTPServer):
    """Answers W&B's client as its server would, and keeps what a run's stream holds."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.history, self.summary, self.run, self.exit = {}, {}, {}, None


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def body(self):
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def do_GET(self):
        self.answer({})

    def do_PUT(self):
        self.body()
        self.answer({})

    def do_POST(self):
        sent = json.loads(self.body() or b"{}")
        if self.path.endswith("/file_stream"):
            self.stream(sent)
        elif "upsertBucket" in sent.get("query", ""):
            self.upsert({k: v for k, v in sent["variables"].items() if v is not None})
        else:
            self.answer({"data": {"serverInfo": {"features": []}, "model": {"bucket": None},
                                  "createRunFiles": {"runID": "x", "uploadHeaders": [], "files": []}}})

    def upsert(self, run):
        self.server.run |= run
        project = {"id": "cA==", "name": run.get("project"), "entity": {"id": "ZQ==", "name": "me"}}
        bucket = {"id": "aWQ=", "name": run.get("name"), "displayName": run.get("displayName"), "config": run.get("config") or "{}",
                  "historyLineCount": 0, "project": project}
        self.answer({"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}})

    def stream(self, sent):
        for name, part in (sent.get("files") or {}).items():
            parsed = [json.loads(line) for line in part["content"]]
            if name == "wandb-history.jsonl":
                self.server.history |= {part["offset"] + i: line for i, line in enumerate(parsed)}
            if name == "wandb-summary.json":
                self.server.summary = parsed[-1]
        if sent.get("complete"):
            self.server.exit = sent.get("exitcode")
        self.answer({"exitcode": None, "limits": {}})


def wandb(rows):
    """Uploads the offline run with `wandb sync` to a server on the loopback address."""
    path = one("wandb/offline-run-*/run-*.wandb")
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    env = os.environ | {"WANDB_BASE_URL": f"http://127.0.0.1:{server.server_address[1]}", "WANDB_API_KEY": "0" * 40,
                        "WANDB_ERROR_REPORTING": "false"}
    done = subprocess.run([os.path.join(os.path.dirname(sys.executable), "wandb"), "sync", "--yes", os.path.dirname(path)],
                          env=env, timeout=300, capture_output=True, text=True)
    server.shutdown()
    check("wandb sync: done", done.returncode == 0, done.stdout + done.stderr if done.returncode else "")
    check("wandb sync: the run ended well", server.exit == 0, server.exit)
    check("wandb sync: project", server.run.get("project") == "blockzero-miner", server.run.get("displayName"))
    config = json.loads(server.run.get("config", "{}"))
    check("wandb sync: configuration", config.get("learning_rate", {}).get("value") == 0.002, len(config))
    got = [server.history[i] for i in sorted(server.history)]
    check("wandb sync: rows", [r.get("_step") for r in got] == [r["step"] for r in rows], len(got))
    compared, wrong = 0, []
    for have, row in zip(got, rows):
        want = numbers(row) | {"_timestamp": seconds(row)}
        have = {k: v for k, v in have.items() if k not in ("_step", "_runtime")}
        compared += len(want)
        if have != want:
            wrong.append((row["step"], have, want))
    check(f"wandb sync: {compared} numbers are equal", not wrong, wrong[:1] or "")
    newest = {}
    for row in rows:
        newest |= numbers(row)
    check(f"wandb sync: summary of {len(newest)} numbers", newest.items() <= server.summary.items())


def main():
    os.chdir(sys.argv[1])
    rows = lines(int(sys.argv[2]))
    for compare in (table, tensorboard, prometheus, wandb):
        compare(rows)
    print(f"{faults} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
