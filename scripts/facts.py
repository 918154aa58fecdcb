"""Prints the size and shape of the package: files, lines, what imports read, and how much is documented."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'vmmjax'
CLOSURES = ('vmmjax.store.store', 'vmmjax.pipeline.pipeline', 'vmmjax.tasks', 'vmmjax.training.loop',
            'vmmjax.experiment')


def closure(module: str) -> tuple[int, int]:
    """Files and lines of the package that importing a module reads."""
    code = (f'import sys, {module}\nprint(*[found.__file__ for name, found in sys.modules.items()'
            " if name.split('.')[0] == 'vmmjax' and found], sep='\\n')")
    found = subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True, capture_output=True, text=True)
    paths = found.stdout.splitlines()
    return len(paths), sum(map(lines, map(Path, paths)))


def lines(path: Path) -> int:
    """Lines of a file."""
    return len(path.read_text(encoding='utf-8').splitlines())


def documented(path: Path) -> tuple[int, int]:
    """Public modules, classes and functions of a file that have a docstring, and all of them."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    found: list[ast.Module | ast.ClassDef | ast.FunctionDef] = [tree]
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith('_'):
            found.append(node)
            if isinstance(node, ast.ClassDef):
                found += [each for each in node.body if isinstance(each, ast.FunctionDef)
                          and not each.name.startswith('_')]
    return sum(ast.get_docstring(node) is not None for node in found), len(found)


def main() -> None:
    """The script."""
    files = sorted(PACKAGE.rglob('*.py'))
    sizes = {path: lines(path) for path in files}
    largest = max(files, key=sizes.__getitem__)
    counts = [documented(path) for path in files]
    print(f'{len(files)} files, {sum(sizes.values()):,} lines; the longest, {largest.relative_to(ROOT)}, has '
          f'{sizes[largest]}')
    print(f'{100 * sum(has for has, _ in counts) / sum(of for _, of in counts):.1f} % of '
          f'{sum(of for _, of in counts):,} public modules, classes and functions have a docstring')
    tests = sorted((ROOT / 'tests').rglob('*.py'))
    print(f'{len(tests)} files of tests, {sum(map(lines, tests)):,} lines')
    for folder in sorted(path for path in PACKAGE.iterdir() if (path / '__init__.py').is_file()):
        own = [path for path in files if folder in path.parents]
        print(f'  {folder.name:11} {len(own):3} files {sum(sizes[path] for path in own):6,} lines')
    print('Importing reads, of the package:')
    for module in CLOSURES:
        count, total = closure(module)
        print(f'  {module:26} {count:3} files {total:6,} lines')


if __name__ == '__main__':
    main()
