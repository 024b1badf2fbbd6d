"""Makes more_*.json, small tokenizers of all kinds, and more_answers.json, what Hugging Face tokenizers says of texts.

    make_more.py    in this folder, with tokenizers 0.23.3

The vocabularies are learnt from hf_corpus.json, with ties that fall otherwise from run to run: new files bring new
answers, and new hashes for TestHashesStay.
"""

import base64
import json
import struct

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [
    "",
    " ",
    "  \n ",
    "Hello world",
    " Hello  the world ",
    "The river's 1234 stones, isn't it?\r\n\n  YES: I'M here",
    "naïve café e\u0301 ﬁne Ⅷ ½ ① ｱﾞ",
    "中文 日本語・カタカナ 한국어",
    "tab\there\x00\x01\x7f\u200b\ufeff|",
    "<s>The</s> <s> x <tool>y</tool> <mask> ",
    "HelloWorld Hello, Hello2 (Hello)",
    "aaa the the  the\u3000Z",
    "<0x41><0xE4>▁ ▁▁ Ġ",
    "emoji 👍\U0001f3fd👨\u200d👩\u200d👧🇩🇪❤\ufe0f!",
    "İstanbul STRASSE ß ſ K",
    "١٢٣ १२३ 12.5e-3 http://x.y/z//\n/",
    "\u0301\u0323\u0345 a\u0323\u0301 \u0f73각각",
    "नमस\u094dत\u0947 สว\u0e31สด\u0e35 ำ",
    "camelCaseXMLHttpRequest'sA'LL",
    "\u1abf\u08d3\U00011938㋿\u1c89\u0897",
    "x" * 70 + " " * 9 + "!?" * 20,
    "  leading",
    "trailing  ",
    "\n\n\nmixed \t\n text\n",
]


def charsmap(rules):
    """A precompiled_charsmap of {text: replacement}: a double array in the format of Darts-clone."""
    trie, values, blob = {}, {}, b""
    for key, to in rules.items():
        at = trie
        for b in key.encode():
            at = at.setdefault(b, {})
        at[None], values[key] = len(blob), len(blob)
        blob += to.encode() + b"\0"
    units, used = {0: 0}, {0}

    def place(node, index):
        labels = [0 if b is None else b for b in node]
        base = next(o for o in range(1, 1 << 20) if all((index ^ o ^ l) not in used for l in labels))
        units[index] |= base << 10
        for l in labels:
            used.add(index ^ base ^ l)
        for b, child in node.items():
            at = index ^ base ^ (0 if b is None else b)
            if b is None:
                units[index] |= 1 << 8
                units[at] = child | 1 << 31
            else:
                units[at] = b
        for b, child in node.items():
            if b is not None:
                place(child, index ^ base ^ b)

    place(trie, 0)
    array = [units.get(i, 0) for i in range((max(units) | 255) + 1)]
    return struct.pack("<I", 4 * len(array)) + struct.pack(f"<{len(array)}I", *array) + blob


MAP = charsmap(
    {
        "\t": " ",
        "\n": " ",
        "\r": " ",
        "\x00": "",
        "\x01": "",
        "\u200b": " ",
        "ﬁ": "fi",
        "½": "1/2",
        "①": "1",
        "Ⅷ": "VIII",
        "e\u0301": "é",
        "a\u0323": "ạ",
        "ｱ": "ア",
        "\u3000": " ",
        "K": "K",
    }
)


def split(expression, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(expression), behavior, invert)


def byte_level(*splits):
    return pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(False, use_regex=False)])


LETTERS = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def cases(contraction, numbers):
    upper, lower = LETTERS
    first = r"[^\r\n\p{L}\p{N}]?"
    return (
        f"{first}{upper}*{lower}+{contraction}|{first}{upper}+{lower}*{contraction}|{numbers}"
        + r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


def main():
    with open("hf_corpus.json", encoding="utf-8") as f:
        corpus = json.load(f)
    answers = {}
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    byte_tokens = [f"<0x{i:02X}>" for i in range(256)]

    def make(name, model, normalizer=None, pre=None, decoder=None, post=None, size=400, added=(), **options):
        tok = Tokenizer(model)
        if normalizer:
            tok.normalizer = normalizer
        if pre:
            tok.pre_tokenizer = pre
        if decoder:
            tok.decoder = decoder
        trainer = trainers.UnigramTrainer if isinstance(model, models.Unigram) else trainers.BpeTrainer
        tok.train_from_iterator(corpus, trainer(vocab_size=size, show_progress=False, **options))
        for a in added:
            (tok.add_special_tokens if a.special else tok.add_tokens)([a])
        if post:
            tok.post_processor = post(tok)
        tok.save(f"more_{name}.json", pretty=False)
        tok = Tokenizer.from_file(f"more_{name}.json")
        rows = []
        for text in TEXTS:
            where = [0]
            for c in text:
                where.append(where[-1] + len(c.encode()))
            tok.encode_special_tokens = False
            e = tok.encode(text, add_special_tokens=False)
            wrapped = tok.encode(text).ids
            tok.encode_special_tokens = True
            plain = tok.encode(text, add_special_tokens=False).ids
            rows.append(
                {
                    "text": text,
                    "special": e.ids,
                    "plain": plain,
                    "wrapped": wrapped,
                    "decoded": tok.decode(e.ids, skip_special_tokens=False),
                    "offsets": [n for a, b in e.offsets for n in (where[a], where[b])],
                }
            )
        answers[name] = rows

    special = [AddedToken("<s>", special=True, normalized=False), AddedToken("</s>", special=True, normalized=False)]
    bytes_level = {"decoder": decoders.ByteLevel(), "initial_alphabet": alphabet, "size": 330, "added": special}
    llama = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    make(
        "llama",
        models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True),
        normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        None,
        decoders.Sequence(llama),
        size=480,
        limit_alphabet=60,
        post=lambda t: processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]),
        special_tokens=["<unk>", "<s>", "</s>", *byte_tokens],
    )
    make(
        "gemma",
        models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True),
        normalizers.Replace(" ", "▁"),
        pre_tokenizers.Split(" ", "merged_with_previous"),
        decoders.Sequence(llama[:3]),
        size=460,
        limit_alphabet=60,
        special_tokens=["<unk>", *byte_tokens],
    )
    make(
        "first",
        models.BPE(unk_token="?"),
        normalizers.Strip(),
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("_", "first")]),
        decoders.Metaspace("_", "first"),
        size=200,
        limit_alphabet=80,
        special_tokens=["?"],
    )
    make(
        "words",
        models.BPE(unk_token="[UNK]"),
        normalizers.Sequence(
            [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Nmt()]
        ),
        pre_tokenizers.Sequence(
            [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(False), pre_tokenizers.Punctuation("merged_with_next")]
        ),
        size=200,
        limit_alphabet=60,
        special_tokens=["[UNK]", "[CLS]", "[SEP]"],
        post=lambda t: processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1)),
        added=[
            AddedToken("Hello", single_word=True),
            AddedToken("the", lstrip=True, rstrip=True, normalized=False),
            AddedToken("日本", rstrip=True),
        ],
    )
    make(
        "suffix",
        models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"),
        normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]),
        pre_tokenizers.Sequence(
            [split(r"'s|'t|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", "removed", True), pre_tokenizers.ByteLevel(False)]
        ),
        decoders.ByteLevel(),
        size=700,
        end_of_word_suffix="</w>",
        special_tokens=["<unk>"],
        initial_alphabet=alphabet,
    )
    make(
        "prefix",
        models.BPE(unk_token="[UNK]", fuse_unk=True, continuing_subword_prefix="##"),
        normalizers.NFD(),
        pre_tokenizers.BertPreTokenizer(),
        size=250,
        limit_alphabet=60,
        continuing_subword_prefix="##",
        special_tokens=["[UNK]"],
    )
    make(
        "letters",
        models.BPE(),
        normalizers.Sequence([normalizers.NFKC(), normalizers.ByteLevel()]),
        pre_tokenizers.Split("Ġ", "merged_with_next"),
        **bytes_level | {"added": [AddedToken("naïve"), AddedToken(" the", lstrip=True)]},
    )
    make(
        "unigram",
        models.Unigram(),
        normalizers.Sequence([normalizers.Precompiled(MAP), normalizers.Replace(Regex(" {2,}"), " ")]),
        pre_tokenizers.Metaspace(),
        decoders.Metaspace(),
        size=300,
        unk_token="<unk>",
        special_tokens=["<s>", "</s>", "<unk>"],
        added=[AddedToken("<mask>", lstrip=True, special=True, normalized=False)],
        post=lambda t: processors.RobertaProcessing(("</s>", 1), ("<s>", 0), trim_offsets=False),
    )
    make(
        "o200k",
        models.BPE(ignore_merges=True),
        None,
        byte_level(split(cases("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", r"\p{N}{1,3}"), "removed", True)),
        **bytes_level,
    )
    make("tekken", models.BPE(), None, byte_level(split(cases("", r"\p{N}"))), **bytes_level)
    make(
        "deepseek_v3",
        models.BPE(),
        normalizers.Sequence([]),
        byte_level(
            split(r"\p{N}{1,3}"),
            split("[一-龥぀-ゟ゠-ヿ]+"),
            split(
                "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"
                "[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
            ),
        ),
        **bytes_level,
    )
    make(
        "deepseek_coder",
        models.BPE(),
        None,
        byte_level(
            split("[\r\n]"),
            split(r"\s?\p{L}+"),
            split(r"\s?\p{P}+"),
            split(r"\s+$"),
            split("[一-龥ࠀ-一가-\ud7ff]+"),
            pre_tokenizers.Digits(True),
        ),
        **bytes_level,
    )
    make(
        "gpt2_like",
        models.BPE(),
        normalizers.NFKC(),
        pre_tokenizers.ByteLevel(True),
        post=lambda t: processors.ByteLevel(trim_offsets=False),
        **bytes_level | {"added": [AddedToken("<s>", special=True, normalized=False, lstrip=True)]},
    )
    with open("more_answers.json", "w", encoding="utf-8") as f:
        json.dump(answers, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main()
