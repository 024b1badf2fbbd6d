"""Tokenizes the texts of a JSONL file: one pass for the sum of the ids, then so many for the time."""

import base64
import json
import sys

import numpy
import say

way, vocabulary, path, repeats = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
with open(path, encoding="utf-8") as lines:
    texts = [json.loads(line)["text"] for line in lines]
if way == "tiktoken":
    import tiktoken
    from tiktoken_ext import openai_public

    with open(vocabulary, "rb") as lines:
        ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines if line.strip())}
    openai_public.load_tiktoken_bpe = lambda *_, **__: ranks
    encode = tiktoken.Encoding(**openai_public.cl100k_base()).encode_ordinary
else:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(vocabulary)
    encode = lambda text: tokenizer.encode(text).ids
say.started(way)
total, kept = 0, 0
for text in texts:
    ids = numpy.array(encode(text), dtype=numpy.uint64)
    total += int((ids * numpy.arange(1, len(ids) + 1, dtype=numpy.uint64)).sum())
    kept += len(ids)
with say.phase("passes"):
    for _ in range(repeats):
        for text in texts:
            encode(text)
say.done(rows=len(texts), bytes=sum(len(t.encode()) for t in texts), kept=kept, sum=str(total % 2**64))
