"""The shape of the house: who may import whom, how long a file may grow, what a function owes its
reader."""

import ast
from collections.abc import Iterator
from pathlib import Path
import re
import sys

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'whyjax'
FILES = sorted(PACKAGE.rglob('*.py'))
NAMES = [str(path.relative_to(ROOT)) for path in FILES]

# Room, or module beside the rooms -> the rooms that it may import. Every room may import itself,
# and what is known everywhere: the config's dataclasses, the errors, and the schema of a results
# file.
MAY_IMPORT = {
  'world': set(),
  'corpus': {'world'},
  'model': set(),
  'training': {'corpus', 'model'},
  'evals': {'world', 'corpus', 'model', 'training'},
  'study': {'world', 'corpus', 'model', 'training', 'evals', 'scaling', 'report'},
  'scaling': set(),
  'report': {'scaling'},
  'sweep': {'study', 'training'},
  'config': {'combinations'},
  'combinations': set(),
  'errors': set(),
  'results': set(),
  'defaults': {'model'},
  'command_line': set(),
  'actions': {'study', 'report', 'sweep', 'training', 'command_line'},
  'main': {'actions', 'training', 'command_line'},
}
KNOWN_EVERYWHERE = {'config', 'errors', 'results'}

# Rooms that stand without the machinery of training: packages from outside that they may import.
PACKAGES = {
  'world': {'numpy'},
  'scaling': {'numpy', 'scipy'},
  'report': {'numpy', 'matplotlib', 'rich'},
  'config': set(),
  'combinations': set(),
  'errors': set(),
  'results': set(),
}
NOWHERE = {'tensorflow', 'torch', 'clu'}


def _room(path: Path) -> str:
  """The room of a file, or its own name where it stands beside the rooms."""
  return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def _imports(path: Path) -> Iterator[tuple[str, ...]]:
  """Every module that a file imports, anywhere in it, as the parts of its name."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (tuple(alias.name.split('.')) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'{path}: imports are absolute here'
      yield from ((*node.module.split('.'), alias.name) for alias in node.names)


@pytest.mark.parametrize('path', FILES, ids=NAMES)
def test_imports_point_one_way(path):
  room = _room(path)
  if room == '__init__':
    assert not list(_imports(path))
    return
  assert room in MAY_IMPORT, f'{room} is a new room: say here what it may import'
  own = {parts[1] for parts in _imports(path) if parts[0] == 'whyjax' and parts[1:]}
  assert own <= MAY_IMPORT[room] | KNOWN_EVERYWHERE | {room}


@pytest.mark.parametrize('path', FILES, ids=NAMES)
def test_rooms_import_no_package_beyond_their_need(path):
  outside = {parts[0] for parts in _imports(path)} - {'whyjax'} - set(sys.stdlib_module_names)
  assert not outside & NOWHERE
  assert outside <= PACKAGES.get(_room(path), outside)


def test_the_import_rules_have_no_cycle():
  order = []
  waiting = dict(MAY_IMPORT)
  while free := [room for room, needs in waiting.items() if needs <= set(order)]:
    order += free
    waiting = {room: needs for room, needs in waiting.items() if room not in free}
  assert not waiting


@pytest.mark.parametrize('path', FILES, ids=NAMES)
def test_public_functions_and_classes_are_documented(path):
  tree = ast.parse(path.read_text())
  kinds = (ast.FunctionDef, ast.ClassDef)
  public = [node for node in tree.body if isinstance(node, kinds) and not node.name.startswith('_')]
  # A property speaks through its name and type.
  methods = [
    m
    for c in public
    if isinstance(c, ast.ClassDef)
    for m in c.body
    if isinstance(m, ast.FunctionDef) and not m.decorator_list and not m.name.startswith('_')
  ]
  assert not [node.name for node in public + methods if not ast.get_docstring(node)]


@pytest.mark.parametrize('path', FILES, ids=NAMES)
def test_public_functions_are_typed(path):
  bare = []
  for node in ast.parse(path.read_text()).body:
    if isinstance(node, ast.FunctionDef) and not node.name.startswith('_'):
      arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
      bare += [f'{node.name}({a.arg})' for a in arguments if a.annotation is None]
  assert not bare


def test_files_stay_small():
  limits = {PACKAGE / 'training/loop.py': 250, PACKAGE / 'main.py': 80}
  folders = ('whyjax', 'configs', 'benchmarks', 'tests')
  files = [path for name in folders for path in (ROOT / name).rglob('*.py')]
  lengths = {path: len(path.read_text().splitlines()) for path in files}
  assert not {str(path): n for path, n in lengths.items() if n > limits.get(path, 500)}


def test_nothing_is_left_undone():
  words = ('TO' + 'DO', 'FIX' + 'ME', 'X' * 3, 'NotImplemented' + 'Error')
  marks = re.compile(rf'\b({"|".join(words)})\b')
  folders = ('whyjax', 'configs', 'launch', 'benchmarks', 'tests', 'docs')
  files = [
    path
    for name in folders
    for path in (ROOT / name).rglob('*')
    if path.suffix in {'.py', '.sh', '.sbatch', '.yaml', '.service', '.md', '.txt'}
  ]
  assert not [str(path) for path in files if marks.search(path.read_text())]
