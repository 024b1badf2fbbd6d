"""Writes cases.json: folders of expert groups and the hash that Connito's task_sync gives them.

The hash is that of connito/shared/task_sync.py, TaskBundle.canonical_sha256, over what
yaml.safe_load and json.loads make of the files. Run it with PyYAML 6: python make.py > cases.json
"""

import hashlib
import json
import random
import string

import yaml

HAND = [
    'group_id: 0\ndata:\n  dataset_name: "open-r1/OpenR1-Math-220k"\n  data_dir: null\n  batch_size: 1 \n'
    '  world_size: 10 # about\n  rank: 1\n  dataset_class: "expert_groups.exp_math.dataset:X"',
    "group_id: 2\ndata:\n  dataset_sources:\n    - {path: allenai/c4, name: en, weight: 0.5, text_column: text}\n"
    "    - path: a/b\n      name: null\n      weight: 1.0\n  eval_source_seeded_shard_pick: false\n",
    "a: 1e-5\nb: 1.0e-5\nc: 1.e+3\nd: .5\ne: 1_000\nf: 0x1F\ng: 017\nh: 0b101\ni: 0o17\nj: -0\nk: +12\nl: -0.0\n",
    "a: yes\nb: No\nc: on\nd: y\ne: ~\nf:\ng: NULL\nh: nUll\ni: TRUE\nj: tRue\n",
    "a: 0.1\nb: 1.0e16\nc: 123456789012345678.0\nd: 1.0e-4\ne: 0.00001\nf: 5.0e-324\ng: 1.7976931348623157e+308\nh: 1e5\n",
    "a: 123456789012345678901234567890\nb: -0x10\nc: 00\nd: 08\ne: 1.2.3\nf: 1_0.2_5\n",
    'a: "\\u00e9 \\U0001F600 \\t\\x7f"\nb: é漢\n"é": 1\n"\\U0001F600": 2\n"\\uFFFD": 3\nA: "\\"\\\\/"\n',
    "a: [1, 1.5, x y, {b: c}]\nb: {}\nc: []\nd: |\n  two\n  lines\ne: >-\n  folded\n  text\nf: 'it''s'\n",
    "- 1\n- a: b\n",
    "a: 'folded\n  '' #x  \n\n\n  ''y''\n\n  z ''\n  '\nb: ['one', 'two\n  three']\n"
    "c: '\n  x'\nd: ''''\ne: ''\n",
]


def scalar(rng):
    return rng.choice([
        lambda: rng.randint(-10**20, 10**20), lambda: rng.randint(-9, 9), lambda: rng.random(),
        lambda: rng.uniform(-1, 1) * 10 ** rng.randint(-30, 30), lambda: None, lambda: rng.random() < .5,
        lambda: "".join(rng.choice(string.printable[:95] + "é漢😀\x7f") for _ in range(rng.randint(0, 12))),
        lambda: " ".join("".join(rng.choice(string.printable[:95]) for _ in range(rng.randint(1, 9))) for _ in range(30)),
        lambda: "\n".join("".join(rng.choice(string.printable[:95]) for _ in range(rng.randint(0, 30))) for _ in range(5)),
        lambda: rng.choice(["yes", "1e5", "1.0", "null", "~", "0x1", "1:30", "2024-01-02", "=", "<<", "", " x", "x ", "a: b", "#"]),
    ])()


def tree(rng, depth):
    kind = rng.random()
    if depth and kind < .3:
        return {f"k{rng.randint(0, 99)}": tree(rng, depth - 1) for _ in range(rng.randint(0, 4))}
    if depth and kind < .5:
        return [tree(rng, depth - 1) for _ in range(rng.randint(0, 3))]
    return scalar(rng)


def assignment(rng):
    layers = rng.sample(range(48), rng.randint(1, 12))
    return {str(l): [[i, o] for i, o in enumerate(rng.sample(range(512), rng.randint(1, 5)))] for l in layers}


def case(name, config, groups, policy):
    payload = {"name": name, "config": yaml.safe_load(config), "expert_assignment": json.loads(groups),
               "shard_policy": None if policy is None else json.loads(policy)}
    canonical = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    return {"name": name, "config.yaml": config, "expert_assignment.json": groups, "shard_policy.json": policy,
            "canonical": canonical, "sha256": hashlib.sha256(canonical.encode("utf-8")).hexdigest()}


def main():
    rng = random.Random(7)
    cases = [case(f"exp_{i}", text, json.dumps(assignment(rng)), None) for i, text in enumerate(HAND)]
    for i in range(40):
        config = yaml.safe_dump({"group_id": i, "data": {f"k{j}": tree(rng, 2) for j in range(4)}}, sort_keys=False)
        policy = json.dumps({"p": tree(rng, 3)}, ensure_ascii=rng.random() < .5) if rng.random() < .5 else None
        cases.append(case(f"exp_r{i}", config, json.dumps(assignment(rng), indent=rng.choice([None, 1])), policy))
    print(json.dumps(cases, indent=0))


main()
