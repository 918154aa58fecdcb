"""What training logged: `log.jsonl`, one JSON object a step."""

import json
from pathlib import Path


def read_log(path: Path) -> tuple[dict[str, dict[float, float]], int]:
    """Reads `log.jsonl`.

    Of a step that was logged twice (a run that was killed and went on) the later line counts. A line that is
    no JSON object with a step, as a killed run may leave, is left out and counted.

    Args:
      path: the file.

    Returns:
      Value by step by key, in the order of appearance, and the number of lines left out.
    """
    series: dict[str, dict[float, float]] = {}
    broken = 0
    for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
        try:
            record = json.loads(line)
            step = record.pop('step')
        except (ValueError, KeyError, AttributeError, TypeError):
            broken += 1
            continue
        for key, value in record.items():
            if isinstance(value, int | float):
                series.setdefault(key, {})[step] = value
    return {key: dict(sorted(points.items())) for key, points in series.items()}, broken
