"""datatrove's four MinHash stages: datatrove_minhash.py IN OUT TASKS WORKERS, folders."""

import os
import sys

import say
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.logging import logger
from datatrove.utils.word_tokenizers import load_word_tokenizer

logger.remove()  # its lines cost time
load_word_tokenizer("en").word_tokenize("The tokenizer is loaded here.")
say.started("datatrove", "spacy", "numpy", "xxhash")

source, target, tasks, workers = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
base = target + ".work"


def run(name, steps, tasks):
    with say.phase(name):
        LocalPipelineExecutor(steps, tasks=tasks, workers=min(workers, tasks), logging_dir=f"{base}/log/{name}").run()


def reader():
    return JsonlReader(source, text_key="text", id_key="id")


run("signatures", [reader(), MinhashDedupSignature(output_folder=f"{base}/signatures", config=config)], tasks)
run("buckets", [MinhashDedupBuckets(f"{base}/signatures", f"{base}/buckets", config=config)], config.num_buckets)
run("cluster", [MinhashDedupCluster(f"{base}/buckets", f"{base}/remove", config=config)], 1)
run("filter", [reader(), MinhashDedupFilter(f"{base}/remove"), JsonlWriter(target, compression=None)], tasks)
say.done()
