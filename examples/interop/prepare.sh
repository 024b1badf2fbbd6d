# What the scripts of this folder begin with. A script that reads this in, from the project's folder, has
# named itself in script, the modules that it imports in modules, and what to install for them in
# requirements. Afterwards venv has them, and work is a folder: the one that was given, or one that goes when the
# script ends.
venv=${1:?usage: $script VENV [WORK]}
if [ $# -gt 1 ]; then
  mkdir -p "$2"
  work=$(cd "$2" && pwd)
else
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
here=examples/interop
if ! "$venv/bin/python" -c "import $modules" 2>/dev/null; then
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet -r "$here/$requirements"
fi
