"""datatrove's GopherQualityFilter; needs the package datatrove. In the plan: command: [python3, gopher.py]"""
from datatrove.pipeline.filters import GopherQualityFilter

from bzexec import datatrove, serve

serve(datatrove(GopherQualityFilter()))
