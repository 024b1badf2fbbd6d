"""Joins Python filters to the exec stage of bzdata: one JSON object a line in, one answer a line out.

A filter is a function of a document (a dict of its fields) that returns True or the document,
edited or not, to keep it; False or None to drop it; or (False, "reason") to drop it for a reason.
The class of filters of datatrove has such a method: serve(datatrove(MyFilter())).
"""
import json
import sys


def serve(judge):
    for line in sys.stdin:
        doc = json.loads(line)
        answer = judge(doc)
        if isinstance(answer, tuple):
            answer = None if answer[0] is True else {"drop": answer[1]}
            answer = doc if answer is None else answer
        elif answer is True:
            answer = doc
        print(json.dumps(answer or None, ensure_ascii=False))


def datatrove(block):
    """The filter method of a datatrove BaseFilter, which takes a Document and may edit its text."""
    from datatrove.data import Document

    def judge(doc):
        fields = {k: v for k, v in doc.items() if k not in ("text", "id")}
        document = Document(text=doc["text"], id=str(doc.get("id", "")), metadata=fields)
        verdict = block.filter(document)
        doc["text"] = document.text
        return verdict

    return judge
