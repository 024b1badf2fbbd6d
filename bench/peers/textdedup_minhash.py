"""text-dedup's MinHash command: textdedup_minhash.py IN OUT BANDS ROWS WORDS.

It loads the corpus by Hugging Face datasets and saves what stays as one; the ids of that
are written beside.
"""

import logging
import os
import sys

import say

source, target, bands, rows, words = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
cache = target + ".work/cache"
os.environ["HF_HOME"] = cache

import datasets  # noqa: E402  after its cache is chosen
from text_dedup import logger, minhash  # noqa: E402

logger.setLevel(logging.ERROR)
datasets.disable_progress_bars()
say.started("text-dedup", "datasets", "numpy")

saved = target + ".work/saved"
minhash.main(
    [
        *("--path", "json", "--data_files", source, "--split", "train", "--cache_dir", cache),
        *("--column", "text", "--output", saved, "--num_proc", "1"),
        *("--b", str(bands), "--r", str(rows), "--num_perm", str(bands * rows), "--ngram", str(words)),
        *("--min_length", "1", "--hash_func", "xxh3"),
    ],
    standalone_mode=False,
)
say.write_ids(target + "/kept.jsonl", datasets.load_from_disk(saved)["id"])
say.done()
