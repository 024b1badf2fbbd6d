"""Makes unicode_answers.json: a SHA-256 for each thing that Hugging Face tokenizers knows of every code point.

    make_unicode.py    in this folder, with tokenizers 0.23.3

Of a class it is taken over the members, of a map over what each code point becomes, as "first-last," and
"code point:text\\n", numbers in decimal. Orders tells how pairs of a mark and U+0345 come out of NFD.
"""

import hashlib
import json

from tokenizers import Regex, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CLASSES = (
    r"\p{L} \p{Lu} \p{Ll} \p{Lt} \p{Lm} \p{Lo} \p{M} \p{Mn} \p{Mc} \p{Me} \p{N} \p{Nd} \p{Nl} \p{No} \p{P} "
    r"\p{Pc} \p{Pd} \p{Ps} \p{Pe} \p{Pi} \p{Pf} \p{Po} \p{S} \p{Sm} \p{Sc} \p{Sk} \p{So} \p{Z} \p{Zs} \p{Zl} "
    r"\p{Zp} \p{C} \p{Cc} \p{Cf} \p{Cn} \p{Co} \s \w \d \h . \p{Han} \p{Hiragana} \p{Katakana} \p{Hangul} "
    r"\p{Latin} \p{Cyrillic} \p{Greek} \p{Thai} \p{Arabic} (?i:s) (?i:k) (?i:[a-z])"
).split()


def digest(members):
    spans = []
    for c in members:
        if spans and spans[-1][1] == c - 1:
            spans[-1][1] = c
        else:
            spans.append([c, c])
    return hashlib.sha256("".join(f"{a}-{b}," for a, b in spans).encode()).hexdigest()


def main():
    out = {}
    for expression in CLASSES:
        gone = normalizers.Replace(Regex(expression), "").normalize_str
        out[expression] = digest(c for c in CODE_POINTS if gone(chr(c)) == "")
    for name, pre in {
        "Digits": pre_tokenizers.Digits(True),
        "Punctuation": pre_tokenizers.Punctuation(),
        "WhitespaceSplit": pre_tokenizers.WhitespaceSplit(),
    }.items():
        out[name] = digest(c for c in CODE_POINTS if len(pre.pre_tokenize_str("\u0378" + chr(c) + "\u0378")) > 1)
    whole = pre_tokenizers.Whitespace().pre_tokenize_str
    out["Whitespace"] = digest(c for c in CODE_POINTS if len(whole("a" + chr(c) + "a")) == 1)
    for name in ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Nmt", "StripAccents", "Strip"]:
        become = getattr(normalizers, name)().normalize_str
        h = hashlib.sha256()
        for c in CODE_POINTS:
            h.update(f"{c}:{become(chr(c))}\n".encode())
        out["map " + name] = h.hexdigest()
    become = normalizers.NFD().normalize_str
    h = hashlib.sha256()
    for c in CODE_POINTS:
        h.update(become("\u0345" + chr(c)).encode())
    out["orders"] = h.hexdigest()
    with open("unicode_answers.json", "w") as f:
        json.dump(out, f, indent=0)
        f.write("\n")


if __name__ == "__main__":
    main()
