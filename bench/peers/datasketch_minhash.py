"""datasketch's MinHash and MinHashLSH: datasketch_minhash.py IN OUT BANDS ROWS WORDS."""

import sys

import say
import shingles
from datasketch import MinHash, MinHashLSH

say.started("datasketch", "numpy")

source, target, bands, rows, words = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
ids, texts = say.read(source)
with say.phase("cutting"):
    sets = [[s.encode() for s in shingles.of(t, words)] for t in texts]
with say.phase("signatures"):
    signatures = MinHash.bulk(sets, num_perm=bands * rows)
kept = []
with say.phase("index"):
    lsh = MinHashLSH(num_perm=bands * rows, params=(bands, rows))
    for i, signature in zip(ids, signatures):
        if not lsh.query(signature):
            lsh.insert(i, signature)
            kept.append(i)
say.write_ids(target + "/kept.jsonl", kept)
say.done()
