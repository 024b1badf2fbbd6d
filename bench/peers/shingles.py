"""Shingles of words, as strings."""


def of(text, words):
    """Cuts a text at white space into overlapping runs of words; a shorter one is one shingle."""
    w = text.lower().split()
    return [" ".join(w[i : i + words]) for i in range(max(1, len(w) - words + 1))]
