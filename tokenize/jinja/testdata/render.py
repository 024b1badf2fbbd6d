"""Writes render.json: what Jinja2, set up as transformers does, makes of the templates below.

    python render.py > render.json      # with jinja2 3.1.6 installed
"""
import json
import re

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(jinja2.ext.Extension):
    """The tag generation, as a block that only marks what it writes."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller):
        return caller()


def refuse(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


env = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
)
env.filters["tojson"] = tojson
env.globals["raise_exception"] = refuse

CHAT = {
    "messages": [
        {"role": "system", "content": "  Be brief.\n"},
        {"role": "user", "content": "What is 2+2? <tool_response>"},
        {"role": "assistant", "content": "<think>\nadd\n</think>\n\n4 é ß 'q' \"d\""},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"type": "function", "function": {"name": "sum", "arguments": {"a": [1, 2.5, 1e20], "b": None, "ü": True}}}]},
        {"role": "tool", "content": "4", "name": "sum"},
        {"role": "assistant", "content": "Yes."},
    ],
    "add_generation_prompt": True,
    "bos_token": "<s>", "eos_token": "</s>", "tools": None, "n": 7, "x": 2.5, "d": {"b": 1, "a": [1, "two"]},
    "words": ["Pear", "apple", "fig"], "empty": [], "t": " \t a b  c\n", "e": "",
}

CHATML = """{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.content is string %}
        {{- message.content | trim }}
    {%- elif message.tool_calls %}
        {%- for call in message.tool_calls %}
            {%- set call = call.function %}
            {{- call.name ~ ' ' ~ call.arguments | tojson }}
        {%- endfor %}
    {%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
MARKED = """{{ bos_token }}{% for m in messages %}
{% if m['role'] == 'assistant' %}
A: {% generation %}{{ m['content'] or 'calls' }}{{ eos_token }}{% endgeneration %}

{% else %}
U: {{ m['content'] }}
{% endif %}
{% endfor %}"""
THINK = """{%- set ns = namespace(last=messages|length - 1, found=false) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if not ns.found and message.role == "user" and not(message.content.startswith('<x>') and message.content.endswith('</x>')) %}
        {%- set ns.found = true %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content %}
    {%- if content is not none and '</think>' in content %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- set thought = message.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- loop.index0 ~ (' after ' if loop.index0 > ns.last else ' before ') ~ content ~ '|' ~ thought ~ '\\n' }}
    {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
        {{- 'next is no tool\\n' }}
    {%- endif %}
{%- endfor %}
"""
MACRO = """{%- macro line(m, end='.', *_) -%}{{ m.role|upper }}{{ end }}{%- endmacro -%}"""
MACRO_OK = """{%- macro line(m, end='.') -%}
  {{ m.role|upper }}{{ end }}{{ n }}
{%- endmacro -%}
{% set n = 8 %}
{{ line(messages[0]) }} {{ line(messages[1], end='!') }} {{ line(messages[2], '?') }}
{% macro deep(k) %}{% if k %}{{ k }}{{ deep(k - 1) }}{% endif %}{% endmacro %}{{ deep(3) }}"""
LOOPS = """{% for w in words %}
  {{ loop.index }}/{{ loop.length }} {{ loop.revindex }} {{ loop.revindex0 }} {{ loop.first }} {{ loop.last }} {{ loop.previtem }}<{{ w }}>{{ loop.nextitem }} {{ loop.cycle('a', 'b') }}
{% else %}
none
{% endfor %}
{% for w in empty %}x{% else %}none {{ loop is defined }}{% endfor %}
{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ loop.last }}{{ m.content }};{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }},{% endfor %}{% for k in d %}{{ k }}{% endfor %}
{% for i in range(2, 9, 3) %}{% if i == 5 %}{% continue %}{% endif %}{{ i }}{% endfor %}{% for i in range(9) %}{% if i > 3 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% set x = 1 %}{% for i in range(3) %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}{% for c in 'añb' %}[{{ c }}]{% endfor %}
{% for (a, b) in [(1, 2), [3, 4]] %}{{ a + b }} {% endfor %}{% for u in missing %}x{% endfor %}"""
SPACE = """A
  {% if true %}  
  B {{- ' c' }}
  {%- endif %}
  {# comment #}
D {#- gone -#}  E
  {%+ if true %} F
  {% endif +%}
G {{ 1 }}
  {{ 2 }} {% if true -%}

 H {% endif %}
	{% set y = 3 %}
I
{% for i in [1, 2] %}
{{ i }}
{% endfor %}

end
"""
TEMPLATES = [CHATML, MARKED, THINK, MACRO, MACRO_OK, LOOPS, SPACE, "", "\n", "\n\n", "a\r\nb\rc\n", "{{", "{% if %}", "{#", "x {{ 'a' }}\n"]

EXPRESSIONS = r"""
1 + 2 * 3 - 4 // 3 % 5
7 / 2
-7 // 2
-7 % 3
7 % -3
7.5 // 2
-7.5 % 2
2 * 'ab' + 'c'
[1] + [2, 'x'] * 2
(1, 'a', none, true, 1.5, 1e20, 1.0, 0.00001)
(1,)
()
{'a': [1, {'b': none}], "q'": 'x"y\'z\n\x07é'}
'a' ~ 1 ~ none ~ true ~ 1.5
'abc'[1] ~ 'abc'[-1] ~ 'añc'[1:] ~ 'abcdef'[::-2] ~ 'abc'[5:] ~ 'abcdef'[-3:-1]
words[::-1]
words[1:]
words[:-1]
words[9]
words[-1]
(1, 2, 3)[1:]
d['a'][1] ~ d.a[0] ~ d.b
d.missing
d['missing'] is defined
missing
missing.attr
missing['x']
n.attr
none.attr
e.attr is defined
n is defined and missing is not defined
1 < 2 < 3
1 < 3 < 2
1 == 1.0 and true == 1
'a' < 'b'
'é' > 'z'
[1, 2] == [1, 2]
(1, 2) == [1, 2]
{'a': 1} == {'a': 1.0}
none == missing
missing == missing2
'b' in 'abc' and 'x' not in 'abc'
1 in [1, 2] and 'a' in d and 'z' not in d
1 in 'abc'
1 in none
'a' in missing
not true or false
e or 'fallback'
n and 'yes'
'yes' if n > 3 else 'no'
'yes' if n > 30
('yes' if n > 30) is defined
1 if false else 2 if false else 3
t | trim
t.strip() ~ '|' ~ t.lstrip() ~ '|' ~ t.rstrip()
'xxaxx'.strip('x') ~ 'xya'.lstrip('yx') ~ 'ayx'.rstrip('xy')
t.split()
t.split(none, 1)
'a,b,,c'.split(',')
'a,b,,c'.split(',', 1)
'a,b,,c'.rsplit(',', 1)
' a b  c '.rsplit(none, 1)
'a'.split('')
'a\nb\r\nc\n'.splitlines()
'a\nb'.splitlines(true)
'abc'.startswith('ab') and 'abc'.endswith(('x', 'bc'))
'abc'.replace('b', 'xx') ~ 'aaa'.replace('a', 'b', 2) ~ ('aaa' | replace('a', 'b', 1))
'Hello World'.upper() ~ 'ÄÖ'.lower() ~ 'hello wORLD'.title() ~ 'hELLO'.capitalize()
'hello wORLD-foo (bar' | title
'hELLO' | capitalize
'abc' | upper | lower
'abc'.find('c') ~ 'abc'.find('x') ~ 'ébc'.find('c') ~ 'abcb'.rfind('b') ~ 'aaa'.count('a')
'abc'.removeprefix('a') ~ 'abc'.removesuffix('c')
'a=b=c'.partition('=')
'a=b=c'.rpartition('=')
'abc'.partition('=')
','.join(words)
'12'.isdigit() ~ 'a1'.isalpha() ~ ' '.isspace() ~ 'AB'.isupper() ~ 'ab'.islower() ~ ''.isspace()
d.items() | list
d.keys() | list
d.values() | list
d.get('a') ~ d.get('z') ~ d.get('z', 5)
words | length ~ e | length ~ (d | count) ~ (missing | length)
n | length
words | join(', ')
words | join
messages | map(attribute='role') | join(',')
messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list
messages | rejectattr('role', 'in', ['user', 'assistant']) | map(attribute='role') | list
messages | selectattr('tool_calls') | list | length
messages | selectattr('tool_calls', 'defined') | list | length
words | map('upper') | list
words | select('in', ['fig']) | list
range(9) | reject('even') | list
words | sort
words | sort(reverse=true)
words | sort(case_sensitive=true)
messages | sort(attribute='role') | map(attribute='role') | list
d | dictsort
d | items | list
[1, 2.5] | sum
d | tojson | safe
('<' | safe) ~ '<' ~ ('a' | safe | trim)
('a' | safe) + '<'
'a' | safe is string
[3, 1, 2] | min ~ ([3, 1, 2] | max) ~ (words | max) ~ (empty | min)
['b', 'B', 'a', 1, 1] | unique | list
'straße ßa' | upper ~ ('ß' | title) ~ ('ßA' | capitalize) ~ 'ΑΣ'.lower()
none | map('upper') | list ~ (0 | select | list) ~ (false | rejectattr('x') | list)
x is odd ~ (3.0 is odd) ~ (x is divisibleby(0.5))
true[1:] | default('s')
missing | int
none | indent
words | first ~ (words | last) ~ (empty | first)
words | reverse | list
'abc' | reverse
'abc' | list
missing | default('x') ~ (e | default('y')) ~ (e | default('z', true)) ~ (none | d('w'))
d | tojson
d | tojson(indent=2)
d | tojson(separators=(',', ':'), sort_keys=true)
{'é': '</a>\n\x7f\t"', 'l': [], 'm': {}} | tojson
{'é': '😀'} | tojson(ensure_ascii=true)
[1.0, 1e16, 1e15, 0.0001, 0.00001, -0.5, 123456789.125] | tojson
missing | tojson
'  12 ' | int ~ ('x' | int) ~ ('3.9' | int) ~ ('x' | int(5)) ~ (3.9 | int) ~ (true | int)
'2.5' | float ~ ('x' | float) ~ (3 | float)
-3 | abs
(-3) | abs
(-3.5) | abs
n | string | length
'a\nb\n\nc' | indent(2)
'a\nb\n\nc' | indent(2, true)
'a\nb\n\nc' | indent('> ', blank=true)
n is number and n is integer and x is float and n is not float and true is boolean and true is number
n is odd and n is not even and n is divisibleby 7 and n is divisibleby(7)
d is mapping and words is sequence and words is iterable and e is string and d is iterable and d is sequence
n is iterable or n is sequence or none is iterable
missing is iterable ~ missing is sequence ~ missing is none ~ none is none
true is true and false is false and 1 is not true
n is eq 7 and n is ne(8) and n is gt 6 and n is le 7 and n is lt 8 and n is ge 7 and n is in [7]
'a' is lower and 'A' is upper and '1' is not lower
namespace(a=1, b='x').b
namespace(a=1).c is defined
dict(a=1, b=2)
dict()
range(3) | list
range(5, 0, -2) | list
range(0)|list
'%s' % 1
'a' + 1
1 + none
missing + 1
[] + 'a'
n()
missing()
raise_exception('no ' ~ n)
d.update({'x': 1})
words.append(1)
'a'.center(3)
words | nosuch
n is nosuch
strftime_now('%d')
[1, 2,]
{'a': 1,}
"a" 'b' "c"
'\u00e9\x41\t\\\'\q'
1_000
true and True and not False and None is none
(n if n else n) + (1 if false else 2)
-n ** 2
2 ** 3
'a' if 'x' in 'xyz' and not 1 > 2 else 'b'
words.index('fig') ~ words.count('fig')
loop
[x for x in words]
words[0][0]
d.a.0
((1))
'a' 'b' ~ 'c' | upper
('a' ~ 'b') | upper
1 - - 1
1 is defined is defined
not n == 7
not (n is string)
'x' * -1 ~ [] | length
n in (7, 8)
"{{" ~ '}}' ~ "%}"
{'a': {'b': {'c': 1}}}
{'a': 1}['a']
[[1, 2], [3]][0][1]
'abc' is in 'abcd'
caller
""".strip("\n").split("\n")

STATEMENTS = [
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}", "{% set a %}x {{ n }}{% endset %}[{{ a }}]",
    "{% set a | trim | upper %}  x {% endset %}[{{ a }}]", "{% set ns = namespace(i=0) %}{% for w in words %}{% set ns.i = ns.i + 1 %}{% endfor %}{{ ns.i }}",
    "{% set d.x = 1 %}", "{% if n == 7 %}a{% elif n %}b{% else %}c{% endif %}", "{% if missing %}a{% elif n == 8 %}b{% elif n %}c{% else %}d{% endif %}",
    "{% for i in 5 %}{% endfor %}", "{% for a, b in [1] %}{% endfor %}", "{% for a, b in [(1, 2, 3)] %}{% endfor %}", "{% if 1 %}", "{% endif %}", "{% for x in y %}{% endif %}",
    "{% include 'x' %}", "{% unknown %}", "{% if n %}{% set q = 5 %}{% endif %}{{ q }}", "{% for i in [1] %}{% set q = 5 %}{% endfor %}{{ q is defined }}",
    "{% generation %}{% set q = 5 %}{% endgeneration %}{{ q is defined }}", "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m() }}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(b=2) }}", "{% macro m() %}{{ n }}{% endmacro %}{% set n = 1 %}{{ m() }}", "{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% for i in [1, 2] %}{% for j in [3, 4] %}{{ loop.index }}{% if j == 3 %}{% continue %}{% endif %}{{ i }}{{ j }}{% endfor %}{{ loop.index }}{% endfor %}",
    "{% break %}", "{{ n }", "{{ n }} }} %}", "{{ (n }}", "{{ n) }}", "{{ 'a }}", "{{ n", "{% set true = 1 %}", "{% set 5 = 1 %}", "{{ 1 2 }}", "{{ }}", "{{ n | }}", "{{ n is }}", "{{ n. }}", "{{ n[] }}", "{{ words[1, 2] }}",
    "{% for i in [3, 1] if i > 1 %}{{ i }}{% endfor %}", "{% for i in words recursive %}{% endfor %}", "{% set x = [] %}{% for i in [1] %}{% set x = x + [i] %}{% endfor %}{{ x }}",
    "{{ namespace }}", "{%- if n -%} a {%- else -%} b {%- endif -%} c", "a {%- if n %} b {% endif -%} c", "{{- ' a ' -}}  b", "a\n\n{{- 'b' }}\n", "a\n{%- set q = 1 -%}\n b", "{% raw %}{{ x }}{% endraw %}",
    "{{ [1, 2, 3] | map('string') | join('-') }}", "{% filter upper %}a{% endfilter %}", "{% call m() %}{% endcall %}", "{% with a = 1 %}{{ a }}{% endwith %}", "{% for m in messages %}{% if not loop.first %}{{ loop.previtem.role }}>{% endif %}{{ m.role }} {% endfor %}",
    "{{ messages[0]['content'] }}{{ messages[-1].content }}{{ messages[4].tool_calls[0].function.arguments | tojson }}", "{% set m = messages[1:] %}{{ m | length }}{{ m[0].role }}", "{{ messages[0] }}", "{{ messages[4] }}",
]


def main():
    out = []
    for source in TEMPLATES + ["{{ " + e + " }}" for e in EXPRESSIONS] + STATEMENTS:
        case = {"source": source}
        try:
            case["text"] = env.from_string(source).render(**CHAT)
        except Exception as e:  # of the template, or of Python
            case["error"] = type(e).__name__
        if "text" in case and re.search(r" at 0x|<(generator|bound|built-in|function|class|Namespace|dict_)|range\(", case["text"]):
            case["error"] = "prints a Python object"
            del case["text"]
        out.append(case)
    print(json.dumps({"vars": CHAT, "cases": out}, indent=1, ensure_ascii=False))


main()
