"""Compares bzdata's tokenizer with Hugging Face tokenizers on the same texts.

    tokenizers.py corpus WORK CORPUS          writes texts.jsonl: the UTF-8 files of a folder, cut at line breaks
    tokenizers.py fuzz WORK FILE COUNT SEED   writes fuzz.jsonl: random texts, with pieces of the tokenizer FILE
    tokenizers.py check WORK FILE             compares what tokenids wrote; exits 1 if anything differs

tokenizers.sh runs all. Of the corpus the ids are compared; of the random texts also the ids with special tokens
taken as text, the offsets (before a post-processor trims them) and what the ids decode to.
"""

import sys

sys.path.pop(0)  # this file is called tokenizers

import json
import os
import random
import time

import numpy
import tokenizers

CHUNK_BYTES = 20000
POOL = [
    *"abcdefgstlmrvdzABCDSTEXYZ0123456789éüßñøİıſKÅǅǆЖжΣςσאبجअकกคだカ한글中文字漢语，。、「」！？ \t\n\r\x0b\x0c\x85\xa0",
    *"\u2003\u3000\u200b\u2028!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡«»…–—’‘“”€£¥§°±²³½¼№™▁Ġ�\ufeff\xad",
    *"\u0300\u0301\u0308\u0327\u0345\u0323\u093c\u094d\u0e49\u20dd\u0489\x00\x01\x07\x08\x1b\x7f\x8f\x9f",
    *"😀👍\U0001f3fd🇩🇪👨\u200d👩\u200d👧❤\ufe0f🤷\u200d♂\ufe0f\U000e0067ﬁﬆŉ①Ⅷ㍿㈱ｱﾞﬀẛ\u0344\u0f73가각힣\ufb1d",
    *"\U0001d15e\u2126\u0958\u0897\u1c89\u1c8a\ua7cb\U000105c0\U00010d40\U000116d0\U00016d40\U0001ccf0",
    *"\U0001fae9\U0001e5f1\u1abf\u08d3㋿\U00011938\U0001e030ஸᄜ9\U000111c9",
    "'s", "'S", "'ll", "'VE", "'re", "'t", "'ſ", " the", " and", "ing", "Hello", "WORLD", "camelCase",
    "HTTPServer", "can't", "I'M", "  ", "    ", "\n\n", "\r\n", " \n", "\n ", "....", "==", "//", "http://", "/\n",
    "</s>", "<0x0A>", "<unk>", "中文", "日本語", "Привет", "مرحبا", "नमस\u094dत\u0947", "สว\u0e31สด\u0e35", "안녕",
    "e\u0301",
]


def corpus(work, folder):
    count = size = 0
    with open(os.path.join(work, "texts.jsonl"), "w", encoding="utf-8") as out:
        for root, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                with open(os.path.join(root, name), "rb") as f:
                    data = f.read()
                try:
                    text = data.decode()
                except UnicodeDecodeError:
                    continue
                lines, held, length = text.splitlines(keepends=True), [], 0
                rng = random.Random(name)
                limit = rng.randrange(1, CHUNK_BYTES)
                for line in lines:
                    held.append(line)
                    length += len(line)
                    if length >= limit:
                        print(json.dumps("".join(held)), file=out)
                        count, size, held, length = count + 1, size + length, [], 0
                        limit = rng.randrange(1, CHUNK_BYTES)
                if held:
                    print(json.dumps("".join(held)), file=out)
                    count, size = count + 1, size + length
    print(f"{count} texts, {size} characters")


def fuzz(work, file, count, seed):
    with open(file, encoding="utf-8") as f:
        parts = json.load(f)
    vocab = parts["model"]["vocab"]
    contents = [t if isinstance(t, str) else t[0] for t in vocab]
    added = [t["content"] for t in parts.get("added_tokens", [])]
    rng = random.Random(seed)
    tok = load(file)

    def piece():
        n = rng.random()
        if n < 0.70:
            return rng.choice(POOL)
        if n < 0.78:
            return rng.choice(POOL) * rng.randrange(2, 40)
        if n < 0.84:
            return rng.choice(contents)
        if n < 0.90:
            return tok.decode([rng.randrange(len(contents))], skip_special_tokens=False)
        if n < 0.93 and added:
            return rng.choice(added)
        c = rng.randrange(0x110000 if n < 0.97 else 0x3000)
        return "?" if 0xD800 <= c < 0xE000 else chr(c)

    with open(os.path.join(work, "fuzz.jsonl"), "w", encoding="utf-8") as out:
        for _ in range(count):
            print(json.dumps("".join(piece() for _ in range(rng.randrange(1, 25)))), file=out)


def load(file):
    """Opens a tokenizer whose post-processor leaves offsets alone."""
    with open(file, encoding="utf-8") as f:
        parts = json.load(f)

    def untrimmed(p):
        if isinstance(p, dict):
            if "trim_offsets" in p:
                p["trim_offsets"] = False
            for inner in p.get("processors", []):
                untrimmed(inner)

    untrimmed(parts.get("post_processor"))
    parts["truncation"] = parts["padding"] = None
    return tokenizers.Tokenizer.from_str(json.dumps(parts))


def texts(work, name):
    with open(os.path.join(work, name), encoding="utf-8") as f:
        for line in f:
            yield json.loads(line)


def batches(items, size):
    held = []
    for item in items:
        held.append(item)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held


def check_ids(work, tok):
    """Compares the ids of the corpus; returns texts, tokens, texts that differ."""
    ours = numpy.fromfile(os.path.join(work, "texts.ids"), dtype="<i4")
    at = count = tokens = wrong = size = 0
    spent = 0.0
    for batch in batches(texts(work, "texts.jsonl"), 500):
        start = time.monotonic()
        encoded = tok.encode_batch(batch, add_special_tokens=False)
        spent += time.monotonic() - start
        for text, e in zip(batch, encoded):
            n = ours[at]
            got = ours[at + 1 : at + 1 + n]
            at += 1 + n
            want = numpy.array(e.ids, dtype="<i4")
            if not numpy.array_equal(got, want):
                wrong += 1
                report("corpus ids", text, got.tolist(), want.tolist(), wrong)
            count, tokens, size = count + 1, tokens + len(want), size + len(text.encode())
    if at != len(ours):
        raise SystemExit(f"{len(ours) - at} numbers too many in texts.ids")
    print(f"Hugging Face: {size} bytes, {size / 1e6 / spent:.1f} MB/s on all cores")
    return count, tokens, wrong


def report(what, text, got, want, wrong):
    if wrong <= 3:
        at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
        print(f"FAIL  {what}: {text[:300]!r}: from {at} on {got[at : at + 12]!r}, want {want[at : at + 12]!r}")


def mistaken(tok):
    """Added tokens that the library's decoder ByteLevel takes for bytes, such as "café". bzdata gives what they are."""
    letters, added = set(tokenizers.pre_tokenizers.ByteLevel.alphabet()), tok.get_added_tokens_decoder()
    return {i for i, t in added.items() if not t.content.isascii() and set(t.content) <= letters}


def check_full(work, tok):
    """Compares the random texts; returns how many, and how many differ in each respect."""
    wrong = dict.fromkeys(["special", "plain", "offsets", "decoded"], 0)
    count = excused = 0
    odd = mistaken(tok)
    with open(os.path.join(work, "fuzz.out"), encoding="utf-8") as f:
        for line, text in zip(f, texts(work, "fuzz.jsonl"), strict=True):
            got, want = json.loads(line), {}
            tok.encode_special_tokens = False
            e = tok.encode(text, add_special_tokens=False)
            where = [0]
            for c in text:
                where.append(where[-1] + len(c.encode()))
            want["special"], want["offsets"] = e.ids, [[where[a], where[b]] for a, b in e.offsets]
            want["decoded"] = tok.decode(e.ids, skip_special_tokens=False)
            tok.encode_special_tokens = True
            want["plain"] = tok.encode(text, add_special_tokens=False).ids
            if got["decoded"] != want["decoded"] and odd.intersection(e.ids):
                excused += 1
                want["decoded"] = got["decoded"]
            count += 1
            for key in wrong:
                if got[key] != want[key]:
                    wrong[key] += 1
                    report(key, text, got[key], want[key], wrong[key])
    if excused:
        print(f"note  {excused} texts decode otherwise for an added token that the library takes for bytes")
    return count, wrong


def check(work, file):
    tok = load(file)
    bad = 0
    if os.path.exists(os.path.join(work, "texts.ids")):
        count, tokens, wrong = check_ids(work, tok)
        bad += wrong
        print(f"{'FAIL' if wrong else 'ok  '}  {file}: corpus: {count} texts, {tokens} tokens, {wrong} texts differ")
    count, wrong = check_full(work, tok)
    bad += sum(wrong.values())
    print(f"{'FAIL' if any(wrong.values()) else 'ok  '}  {file}: random: {count} texts, differ in {wrong}")
    return bad


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["corpus", work, folder]:
            corpus(work, folder)
        case ["fuzz", work, file, count, seed]:
            fuzz(work, file, int(count), int(seed))
        case ["check", work, file]:
            sys.exit(1 if check(work, file) else 0)
        case _:
            sys.exit(__doc__)
