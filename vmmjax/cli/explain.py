"""Shows what a run's prediction of a file rests on: which streams, and where and when in them.

  vmmjax explain clip.mp4 --weights=runs/mine --output=why
  vmmjax explain clip.mp4 --weights=runs/mine --output=why --methods=streams,hirescam --class=drumming
  vmmjax explain --weights=runs/mine --split=test --output=why

Of a file it explains the logit of the class that the run names, or of --class, in the windows of the run's evaluation:

  streams    exact Shapley values of the streams, from all of their subsets, the others truly absent;
  hirescam   gradient times activation at a layer, and gradcam, the same with the gradient averaged; the layer is chosen
             for each network unless --layer names one;
  gradients  integrated gradients over all streams at once, with steps doubled until they are complete to 5 %;
  occlusion  what the logit loses when parts of time and space, or time and frequency, or words, are hidden.

It writes explanation.html, a video of every stream of pictures under its maps, a picture of every spectrum, all numbers
as explanation.npz (times in seconds), and explanation.json, which says what each map sums to and how far it is from
what it should. Time grows with the network: streams and hirescam take seconds, gradients 16 to 256 steps of training,
occlusion 65 forward passes a window and stream.

Of a split, --split, it prints the streams' values over all clips beside the metrics of every subset of the streams, and
writes explanation_<split>.json and, clip by clip, explanation_<split>.npz.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from vmmjax import atomic
from vmmjax.errors import UserError
from vmmjax.serving.explanation import METHODS, Explanation
from vmmjax.text_table import aligned

if TYPE_CHECKING:
    from vmmjax.serving.explain_split import SplitValues

POSITIONAL = '[FILE]'
WEIGHTS = flags.DEFINE_string('weights', None, 'Folder of a run that `vmmjax train` made, or a bundle.',
                              required=True)
OUTPUT = flags.DEFINE_string('output', None, 'Folder for what is written; made where it is not there.', required=True)
SPLIT = flags.DEFINE_string('split', '', "Split of the run's store, in place of a file.")
METHOD = flags.DEFINE_list('methods', list(METHODS), 'What is computed of a file.')
CLASS = flags.DEFINE_string('class', '', 'The class that is explained; the one that the run names unless given.')
TARGET = flags.DEFINE_string('target', '', 'Of a run of several targets, which; the first unless given.')
LAYER = flags.DEFINE_string('layer', '', 'Layer of hirescam and gradcam, such as encoders_rgb/Mixed_4f.')


def main(files: list[str]) -> None:
    """The command."""
    if len(files) != (not SPLIT.value):
        raise UserError('`vmmjax explain` explains one file, or a split with --split; name one of them.')
    from vmmjax.experiment import Experiment
    from vmmjax.reports import explanation_page
    from vmmjax.serving.explain import Explainer
    from vmmjax.serving.explain_split import explain_split
    from vmmjax.training.runtime import keep_compiled

    keep_compiled()
    run = Experiment.load(WEIGHTS.value)
    folder = Path(OUTPUT.value)
    if SPLIT.value:
        over = explain_split(run, SPLIT.value, TARGET.value)
        _write(folder, f'explanation_{SPLIT.value}', over.to_json(), over.arrays())
        print(_of_split(over))
        return
    explainer = Explainer(run, methods=METHOD.value, target=TARGET.value, layer=LAYER.value)
    found = explainer(files[0], named=CLASS.value, progress=True)
    _write(folder, 'explanation', found.to_json(), found.arrays())
    page = explanation_page.write(folder, found)
    print(_of_file(found))
    print(f'\nThe page is {page}.')


def _write(folder: Path, name: str, told: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write(folder / f'{name}.json', json.dumps(told, indent=2) + '\n')
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays)
    atomic.write(folder / f'{name}.npz', packed.getvalue())


def _of_file(found: Explanation) -> str:
    lines = [f'{found.clip}: {found.named}, logit {found.scores.mean():+.3f}']
    if found.values:
        lines += ['', *aligned([['stream', 'value'], *(
            [name if found.present[name] else f'{name} (absent)', f'{values.mean():+.3f}']
            for name, values in found.values.items())], '<>'), *_warned(found.trained_with_absence)]
    if found.maps:
        lines += ['', *aligned([['stream', 'method', 'layer or baseline', 'what it is'], *(
            [each.stream, each.method, each.at, each.standing.partition(':')[0]] for each in found.maps)])]
    return '\n'.join(lines)


def _of_split(over: 'SplitValues') -> str:
    shares = over.shares
    first = next(iter(over.result.metrics))
    rows = [[name, str(int(over.present[name].sum())), f'{values.mean():+.3f}', f'{100 * shares[name]:.1f} %']
            for name, values in over.values.items()]
    subsets = [[name, str(row['examples']), '–' if row[first] is None else f'{row[first]:.4f}']
               for name, row in over.result.subsets.items()]
    return '\n'.join([
        f'{len(over.clips)} clips; values in logits of the class that is named for each', '',
        *aligned([['stream', 'has it', 'mean value', 'share of sizes'], *rows], '<>'), '',
        *aligned([['streams', 'clips', first], *subsets], '<>'), *_warned(over.trained_with_absence)])


def _warned(trained: bool) -> list[str]:
    return [] if trained else ['A heuristic: the run never trained with absent streams (data.dropout), so that subsets '
                               'of them are something it never saw.']
