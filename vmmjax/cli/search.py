r"""Finds clips of an index by a sentence, a clip or a sound.

  vmmjax search indexes/grid 'place red at a four now'
  vmmjax search indexes/grid question.wav --by=rgb --top=20          # by a sound, in the pictures alone
  vmmjax search indexes/grid 'a dog barks' --page=found.html         # the clips that are found, to be played
  vmmjax search indexes/grid 'a dog barks' --json | jq .clip

The index is one of `vmmjax index`. The question is embedded by the run that made it, a sentence by its text stream, a
file by all others that it has; of several windows and streams it is the mean. Every window of the index is compared, by
the cosine of its vector with the question's (the mean over the streams of --by that it has), and each clip is listed by
its best window, with its times in seconds of the file.

Memory does not depend on the number of clips: 65,536 windows are compared at a time. A run that was trained further is
another one: the index is refused and has to be made again.
"""

import dataclasses
import json
import os
from pathlib import Path

from absl import flags

from vmmjax.errors import UserError
from vmmjax.text_table import aligned

POSITIONAL = 'INDEX SENTENCE|FILE'
WEIGHTS = flags.DEFINE_string('weights', None, 'Folder of the run, if it is no longer where it was.')
TOP = flags.DEFINE_integer('top', 10, 'How many clips to list.', lower_bound=1)
BY = flags.DEFINE_list('by', [], 'Streams of the index that are compared; all of them unless given.')
JSON = flags.DEFINE_boolean('json', False, 'Print a JSON object a clip, and nothing else.')
PAGE = flags.DEFINE_string('page', '', 'HTML file to write, on which the clips that are found play.')


def main(arguments: list[str]) -> None:
    """The command."""
    if len(arguments) != 2:
        raise UserError(f'`vmmjax search` takes an index and one question, not {len(arguments)} arguments; put a '
                        f'sentence in quotes.')
    folder, question = arguments
    if not question.strip():
        raise UserError('The question is empty; ask with a sentence, or name a file.')
    asks_file = os.path.isfile(question)  # `Path.is_file` raises for a sentence that is too long to be a name.
    from vmmjax.prepare.sources.media_index import SOUNDS, VIDEOS

    if not asks_file and os.path.splitext(question)[1].lower() in VIDEOS + SOUNDS:
        raise UserError(f'The file {question} is not there; name one, or ask with a sentence.')
    from vmmjax.prepare.sources.clip import of_file
    from vmmjax.serving.embeddings import Towers
    from vmmjax.serving.index import Index
    from vmmjax.training.runtime import keep_compiled

    keep_compiled()
    index = Index(folder)
    run = WEIGHTS.value or index.settings['weights']
    if not WEIGHTS.value and not os.path.exists(run):
        raise UserError(f'The index {folder} was made by {run}, which is not there any more; name the run as '
                        f'--weights.')
    towers = Towers(run)
    index.check(towers.identity, run)
    vector = towers.of_file(of_file(question)) if asks_file else towers.of_text(question)
    hits = index.find(vector, TOP.value, BY.value)
    if JSON.value:
        for hit in hits:
            print(json.dumps(dataclasses.asdict(hit)))
    else:
        print('\n'.join(aligned([['cosine', 'start', 'end', 'clip'], *(
            [f'{hit.score:.4f}', f'{hit.start:.2f}', f'{hit.end:.2f}', hit.clip] for hit in hits)], '>>><')))
    if PAGE.value:
        from vmmjax.reports import search_page

        search_page.write(Path(PAGE.value), question, hits, index.settings)
        if not JSON.value:
            print(f'Wrote {PAGE.value}.')
