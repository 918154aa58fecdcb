from pathlib import Path

import numpy as np

from experiments import continued


def test_every_method_begins_where_it_should_and_the_table_compares_them_with_joint() -> None:
    planned = continued.runs(Path('stores'), Path('runs'), 1)
    assert len({folder for folder, _ in planned.values()}) == len(planned)
    for name, (_, config) in planned.items():
        goes_on = name in ('Naive', 'Distillation') or name.startswith('Replay')
        begun = config.init_from.workdir, config.init_from.classes
        assert begun == (('runs/first_1', True) if goes_on else ('', False))
        assert config.seed == 1
    names = [name for name in planned if name != 'first']
    right = np.zeros((len(names), 2, 2, 10), bool)
    right[:, :, 0, :9] = True  # After the first step nine of ten of the first data set.
    right[1:, :, 1, :6] = True  # Then none with Naive, six otherwise.
    lines = continued.table(names, [right, np.ones_like(right)]).splitlines()
    assert lines[2].startswith('| Naive | 0.0 | 100.0 | 50.0 (50.0 to 50.0) | 90.0 ')
    assert '-30.0 (' in lines[2]
    assert 'Replay of all clips: forgetting is 0.333 (' in lines[-1]
