"""rensa's sketches and index: rensa_minhash.py IN OUT BANDS ROWS WORDS shingles|words.

shingles  full-set R-MinHash over shingles of WORDS words
words     the rho sketch over single words, its fastest way, which samples them
"""

import sys

import say
import shingles
from rensa import RMinHash, RMinHashLSH

say.started("rensa")

source, target, bands, rows, words = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
ids, texts = say.read(source)
perms = bands * rows
if sys.argv[6] == "shingles":
    with say.phase("cutting"):
        sets = [shingles.of(t, words) for t in texts]
    with say.phase("signatures"):
        matrix = RMinHash.digest_matrix_from_token_sets(sets, num_perm=perms, seed=42)
    with say.phase("index"):
        lsh = RMinHashLSH(threshold=0.72, num_perm=perms, num_bands=bands)
        flags = lsh.query_duplicate_flags_matrix_one_shot(matrix)
else:
    with say.phase("cutting"):
        sets = [t.split() for t in texts]
    with say.phase("signatures"):
        matrix = RMinHash.digest_matrix_from_token_sets_rho(sets, num_perm=perms, seed=42)
    with say.phase("index"):
        lsh = RMinHashLSH(threshold=0.8, num_perm=perms, num_bands=bands)
        flags = lsh.query_duplicate_flags_matrix_one_shot(matrix)
say.write_ids(target + "/kept.jsonl", [i for i, dup in zip(ids, flags) if not dup])
say.done()
