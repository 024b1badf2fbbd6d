"""Compares the ids of conversations with those that transformers gives them.

    chat.py write WORK                      writes models with templates, and conversations
    chat.py check MODEL ROWS PROMPT IDS     compares a line of ids for each row; exits 1 if one differs

chat.sh runs both. A conversation is rendered by apply_chat_template(tokenize=False) and tokenized with
add_special_tokens=False, as Block Zero's validators do.
"""

import json
import random
import shutil
import sys

sys.path.pop(0)  # beside this file is one called torch

TEMPLATES = {
    "chatml": "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}\n"
    "{% if add_generation_prompt %}\n{{ '<|im_start|>assistant\\n' }}\n{% endif %}\n",
    "thinking": """{%- set ns = namespace(last=messages|length - 1) %}
{%- for m in messages[::-1] %}
    {%- if m.role == 'user' and ns.last == messages|length - 1 %}
        {%- set ns.last = messages|length - 1 - loop.index0 %}
    {%- endif %}
{%- endfor %}
{{- eos_token }}
{%- for m in messages %}
    {%- set text = m.content %}
    {%- if m.role == 'assistant' and '</think>' in text %}
        {%- set text = text.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- '[' ~ m.role | upper ~ '] ' ~ (m.content if loop.index0 > ns.last else text) | trim ~ eos_token }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '[ASSISTANT]' }}{% endif %}
""",
    "tools": """{% for m in messages %}
{% if m.role == 'assistant' %}
A: {% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}

{% else %}
{{ loop.index }}/{{ loop.length }} {{ {'role': m.role, 'text': m.content} | tojson }}
{% endif %}
{% endfor %}
""",
}


def write(work):
    rng = random.Random(5)
    words = "the river e\u0301té 12 + 7 = 19 stones <|endoftext|> \t\n\n 数学 and “so” on . ' \" \\ <think> 😀".split(" ")
    say = lambda: " ".join(rng.choices(words, k=rng.randrange(1, 30)))
    with open(f"{work}/chat.jsonl", "w", encoding="utf-8") as out:
        for _ in range(500):
            messages = [{"role": "system", "content": say()}] if rng.random() < 0.3 else []
            for _ in range(rng.randrange(1, 4)):
                thought = f"<think>\n{say()}\n</think>\n\n" if rng.random() < 0.5 else ""
                messages += [{"role": "user", "content": say()}, {"role": "assistant", "content": thought + say()}]
            out.write(json.dumps({"messages": messages}, ensure_ascii=rng.random() < 0.5) + "\n")
    for name, template in TEMPLATES.items():
        shutil.copytree(f"{work}/model", f"{work}/chat-{name}", dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors"))
        with open(f"{work}/chat-{name}/tokenizer_config.json", "w", encoding="utf-8") as out:
            json.dump({"eos_token": "<|endoftext|>", "chat_template": template}, out)


def check(model, rows, prompt, ids):
    from transformers import PreTrainedTokenizerFast

    with open(f"{model}/tokenizer_config.json", encoding="utf-8") as f:
        config = json.load(f)
    content = lambda t: t["content"] if isinstance(t, dict) else t
    roles = {k: content(config[k]) for k in ("bos_token", "eos_token", "pad_token") if config.get(k)}
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{model}/tokenizer.json", chat_template=config["chat_template"], **roles)
    with open(rows, encoding="utf-8") as f:
        chats = [json.loads(line)["messages"] for line in f]
    with open(ids, encoding="utf-8") as f:
        got = [[int(i) for i in line.split()] for line in f]
    tokens = faults = 0
    for i, chat in enumerate(chats):
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=prompt == "true")
        want = tokenizer(text, add_special_tokens=False)["input_ids"]
        tokens += len(want)
        if i >= len(got) or got[i] != want:
            faults += 1
            if faults == 1:
                print(f"row {i}: {text!r}")
    ok = not faults and len(got) == len(chats)
    name = model.rstrip("/").split("/")[-1]
    print(f"{'ok  ' if ok else 'FAIL'}  {name}, generation prompt {prompt}: {len(chats)} conversations, {tokens} tokens, {faults} differ")
    sys.exit(not ok)


if sys.argv[1] == "write":
    write(sys.argv[2])
else:
    check(*sys.argv[2:])
