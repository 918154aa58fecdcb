"""What a task that writes texts has predicted, made up."""

import numpy as np

from vmmjax.evaluation.predictions import Predictions

VOCABULARY = ['[PAD]', '[END]', '[UNK]', 'a', 'dog', 'runs', 'cat', 'sleeps']
FACTS = dict(vocabulary=VOCABULARY, longest=4, classes=[])


def padded(texts, length=16):
    return np.array([[*map(ord, text), *[-1] * (length - len(text))] for text in texts], np.int32)


def rows_of(references, said):
    """Predictions of one text a clip, each with probability one half."""
    most = max(map(len, references))
    ids = np.zeros((len(said), 1, 4), np.float32)
    for place, text in enumerate(said):
        tokens = [VOCABULARY.index(word) for word in text.split()]
        ids[place, 0, :len(tokens)] = tokens
    letters = np.stack([padded([*texts, *[''] * (most - len(texts))]) for texts in references])
    return Predictions(np.arange(len(said), dtype=np.int32), {'text/letters': letters},
                       {'ids': ids, 'log_probability': np.full((len(said), 1), np.log(0.5), np.float32),
                        'score': np.zeros((len(said), 1), np.float32),
                        'loss': np.full(len(said), 0.7, np.float32)}, {})
