"""Writes the tables and the test vectors of spaCy's English tokenizer, read out of spaCy itself.

    pip install spacy==3.8.18
    python3 spacy_en.py tables  > ../spacy_en.txt
    python3 spacy_en.py vectors < texts > spacy_en.jsonl     # texts: one JSON string per line

The tables hold, for each range of characters that the tokenizer's patterns tell apart, which
of them it belongs to (see spacy_tables.go), and each special case as the tokens it becomes.
"""
import importlib.metadata  # datatrove needs it loaded
import json
import re
import sys

import spacy
from spacy.lang import char_classes as c
from spacy.symbols import ORTH


def one(pattern):
    return re.compile(pattern).fullmatch


# The order is that of the bits in spacy_tables.go.
CLASSES = [
    one("[" + c.ALPHA + "]"),
    one("[" + c.ALPHA_LOWER + c.CONCAT_QUOTES + "]"),
    one("[" + c.ALPHA_UPPER + c.CONCAT_QUOTES + "]"),
    one("[" + c.ALPHA_UPPER + "]"),
    one("|".join(p for p in c.LIST_PUNCT + c.LIST_QUOTES + c.LIST_CURRENCY + c.LIST_ICONS
                 + ["…", "§", "%", "=", "—", "–"] if p.strip())),
    one("|".join(p for p in c.LIST_PUNCT + c.LIST_QUOTES + c.LIST_ICONS + ["…", "—", "–"] if p.strip())),
    one("[0-9{al}{e}{p}(?:{q})]".format(al=c.ALPHA_LOWER, e=r"%²\-\+", q=c.CONCAT_QUOTES, p=c.PUNCT)),
    one("|".join(c.LIST_ICONS)),
    one(c.CURRENCY),
    one("[" + c.ALPHA_LOWER + "]"),
]


def bits(char):
    return sum(1 << i for i, match in enumerate(CLASSES) if match(char))


def tables():
    nlp = spacy.blank("en")
    print("# From spaCy %s (MIT licence, (C) ExplosionAI GmbH), lang/en, by testdata/spacy_en.py." % spacy.__version__)
    print("# r FIRST LAST CLASSES, u UNIT, s TOKENS OF A SPECIAL CASE, p PIECES OF ONE BEFORE IT IS LOOKED UP")
    first, of = 0, bits(chr(0))
    for code in range(1, 0x110001):
        now = bits(chr(code)) if code < 0x110000 and not 0xD800 <= code < 0xE000 else 0
        if now != of or code == 0x110000:
            if of:
                print("r %x %x %x" % (first, code - 1, of))
            first, of = code, now
    for unit in c.UNITS.split("|"):
        print("u " + unit)
    t = nlp.tokenizer
    for key, tokens in sorted(t.rules.items()):
        if key.isspace():
            continue
        print("s " + " ".join(token[ORTH] for token in tokens))
    plain = spacy.tokenizer.Tokenizer(nlp.vocab, {}, t.prefix_search, t.suffix_search, t.infix_finditer, None, t.url_match)
    for key in sorted(t.rules):
        if not key.isspace() and (t.find_prefix(key) or t.find_infix(key) or t.find_suffix(key)):
            print("p " + " ".join(token.text for token in plain(key)))


def vectors():
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    tokenizer = load_word_tokenizer("eng")
    for line in sys.stdin:
        text = json.loads(line)
        words = tokenizer.word_tokenize(text)
        print(json.dumps({"text": text, "words": words, "sentences": max(1, len(tokenizer.span_tokenize(text)))},
                         ensure_ascii=False))


{"tables": tables, "vectors": vectors}[sys.argv[1]]()
