"""Reads the token files of a run with datatrove and Megatron-LM: tokens.py SAMPLE WORK

WORK/tokens-WIDTH are runs of the sample's plan. Every document must be there once, with the tokens that
Hugging Face's tokenizers give its text and an end-of-text token behind, in the same order in both formats.
WORK/trained.json must have the vocabulary and merges that BpeTrainer learns from the same documents.
Exits 1 if anything differs. tokens.sh runs it.
"""

import sys

sys.path.pop(0)  # beside this file is one called torch

import glob
import json
import os

import numpy
import torch
from datatrove.utils.dataset import DatatroveFileDataset
from megatron.core.datasets.indexed_dataset import IndexedDataset
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

faults = 0


def check(what, ok, detail=""):
    """Prints one check and counts it if it failed."""
    global faults
    faults += not ok
    print(f"{'ok  ' if ok else 'FAIL'}  {what}{': ' + str(detail) if detail != '' else ''}")


def texts(run):
    """The documents that export wrote."""
    out = []
    for name in sorted(glob.glob(f"{run}/out/data/data/*.jsonl")):
        with open(name, encoding="utf-8") as lines:
            out += [json.loads(line)["text"] for line in lines]
    return out


def exported(run, tokenizer, eos):
    """The tokens of the documents that export wrote, in order of their tokens."""
    return sorted(tuple(e.ids) + (eos,) for e in tokenizer.encode_batch(texts(run), add_special_tokens=False))


def trained(work):
    """Learns what bzdata tokenize train has learnt."""
    want = Tokenizer(models.BPE())
    want.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(vocab_size=3000, min_frequency=3, special_tokens=["<|endoftext|>", "<pad>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    want.train_from_iterator(texts(os.path.join(work, "tokens-uint16")), trainer)
    want = json.loads(want.to_str())["model"]
    with open(f"{work}/trained.json", encoding="utf-8") as f:
        got = json.load(f)["model"]
    pairs = lambda merges: [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in merges]
    check("train: the merges are those of BpeTrainer", pairs(got["merges"]) == pairs(want["merges"]), len(want["merges"]))
    check("train: the ids are those of BpeTrainer", got["vocab"] == want["vocab"], len(want["vocab"]))


def by_index(path, width):
    """The documents of a .ds file, as its index cuts it."""
    tokens = numpy.fromfile(path, f"<u{width}")
    ends = numpy.fromfile(path + ".index", "<u8")
    return [tuple(map(int, d)) for d in numpy.split(tokens, ends[:-1])], tokens, ends


def positions(ends, n):
    """Where each token stands in its document, as datatrove counts from the start of a window."""
    out, at = [], 0
    stops = set(map(int, ends))
    for i in range(n):
        at = 0 if i in stops else at + 1 if i else 0
        out.append(at)
    return out


def datatrove(run, part, width):
    """Reads a part with datatrove's own class, in windows, and its documents by the index."""
    path = f"{run}/out/tokens/datatrove/{part}_00000_doc_shuffled.ds"
    documents, tokens, ends = by_index(path, width)
    length = 64
    data = DatatroveFileDataset(path, length, token_size=width, return_positions=True)
    read = torch.cat([data[i]["input_ids"] for i in range(len(data))]).numpy()
    check(f"{part}: datatrove reads all windows of {length + 1} tokens", len(data) == len(tokens) // (length + 1)
          and (read == tokens[: len(read)].astype("int64")).all(), len(data))
    first = data[0]["positions"].tolist()
    check(f"{part}: datatrove finds the documents' starts", first == positions(ends, length + 1))
    loss = numpy.fromfile(path + ".loss", "?")
    meta = open(path + ".metadata", encoding="utf-8").read().split("\n")
    check(f"{part}: loss and metadata go with the tokens",
          len(loss) == len(tokens) and loss.all() and meta[0].endswith(f"|{width}") and int(meta[1]) == len(tokens), meta[2])
    return documents


def megatron(run, part, width):
    """Reads a part with Megatron-LM's own class."""
    data = IndexedDataset(f"{run}/out/tokens/megatron/{part}")
    documents = [tuple(map(int, data[i])) for i in range(len(data))]
    want = {2: numpy.uint16, 4: numpy.int32}[width]
    check(f"{part}: Megatron-LM reads tokens of {width} bytes", data.index.dtype == want, data.index.dtype.__name__)
    check(f"{part}: a document is a sequence", list(data.document_indices) == list(range(len(data) + 1)), len(data))
    return documents


def main():
    sample, work = sys.argv[1:]
    tokenizer = Tokenizer.from_file(f"{sample}/base/tokenizer.json")
    eos = tokenizer.token_to_id("<|endoftext|>")
    for width, name in ((2, "uint16"), (4, "uint32")):
        run = os.path.join(work, f"tokens-{name}")
        for part in ("train", "select", "judge"):
            documents = datatrove(run, part, width)
            check(f"{part}: Megatron-LM has the same documents in the same order", megatron(run, part, width) == documents)
            if part == "train":
                check("train: every exported document is there once, with the tokens of Hugging Face's tokenizers",
                      sorted(documents) == exported(run, tokenizer, eos), len(documents))
    trained(work)
    sys.exit(faults > 0)


main()
