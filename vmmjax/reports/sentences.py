"""Sentences on the axis of time of a clip: when each word is said, and what it rests on."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from vmmjax.reports import timeline

_LATE = 88.0  # Percent of the axis.
_ROW, _COLUMN = 12, 8  # Pixels of a token, and of a part of the window.


def lanes(each: Mapping[str, Any], window: Mapping[str, float]) -> list[dict[str, Any]]:
    """What `timeline.html` shows below a clip whose text was written; nothing of another.

    Args:
      each: of `Result.worst`: with `told`, whose `words` have their `share` of the window, and with `attention`, where
        that is known (`evaluation.attention`).
      window: where it lies, `left` and `width` in percent of the axis.
    """
    found: list[dict[str, Any]] = []
    words = [word for told in each.get('told', ()) for word in told.get('words', ()) if word.get('share')]
    if words:
        found.append({'kind': 'words', 'name': 'said', 'note': 'by the likeliest path of CTC',
                      'words': [_word(word, window) for word in words]})
    if each.get('attention'):
        weights = np.array(each['attention']['weights'])
        grey = np.rint(255 * np.clip(weights / max(float(weights.max()), 1e-9), 0, 1)).astype(np.uint8)
        grey = grey.repeat(_ROW, 0).repeat(_COLUMN, 1)
        tokens = ', '.join(token.replace(' ', '␣') for token in each['attention']['tokens'])
        found.append({'kind': 'image', 'name': 'rests on', **window,
                      'note': f'the parts of the window (of several streams that are not joined in time, of one after '
                              f'the other), a row a token from above: {tokens}',
                      'src': timeline.as_source('.png', cv2.applyColorMap(grey, cv2.COLORMAP_MAGMA), [])})
    return found


def _word(word: Mapping[str, Any], window: Mapping[str, float]) -> dict[str, Any]:
    first, last = (window['left'] + window['width'] * at for at in word['share'])
    # Near the end of the axis it stands before its place.
    ends = first > _LATE
    return {'text': word['word'], 'left': last if ends else first, 'width': 0.0 if ends else last - first, 'ends': ends,
            'name': f'{word["word"]}, confidence {100 * (word["confidence"] or 0):.1f} %'}
