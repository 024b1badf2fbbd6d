"""Drops documents of few words and sample text, and squeezes spaces."""
import re

from bzexec import serve


def judge(doc):
    if "lorem ipsum" in doc["text"].lower():
        return False, "lorem_ipsum"
    if len(doc["text"].split()) < 3:
        return False, "few_words"
    doc["text"] = re.sub(" +", " ", doc["text"])
    return doc


serve(judge)
