"""datatrove's FineWeb and Gopher filters: datatrove_filters.py file|memory IN OUT.

file    JSONL in, JSONL out, by LocalPipelineExecutor with one task; IN and OUT are folders
memory  the filters alone, on documents that are in memory already; IN is a file
"""

import sys

import say
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.logging import logger
from datatrove.utils.word_tokenizers import load_word_tokenizer


def filters():
    return [FineWebQualityFilter(), GopherRepetitionFilter(), GopherQualityFilter()]


def from_file(source, target):
    reader = JsonlReader(source, text_key="text", id_key="id")
    steps = [reader, *filters(), JsonlWriter(target, compression=None)]
    LocalPipelineExecutor(steps, tasks=1, workers=1, logging_dir=target + ".log").run()
    say.done()


def in_memory(source, target):
    ids, texts = say.read(source)
    docs = [Document(text=t, id=i) for i, t in zip(ids, texts)]
    steps = filters()
    with say.phase("filters"):
        kept = [d.id for d in docs if all(step.filter(d) is True for step in steps)]
    say.write_ids(target + "/kept.jsonl", kept)
    say.done()


logger.remove()  # its lines cost time
load_word_tokenizer("en").word_tokenize("The tokenizer is loaded here.")
say.started("datatrove", "spacy")
{"file": from_file, "memory": in_memory}[sys.argv[1]](*sys.argv[2:])
