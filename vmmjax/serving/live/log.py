"""The log of alarms: a JSON object a line, which a restart goes on with."""

import dataclasses
import json
from pathlib import Path

from vmmjax.errors import UserError
from vmmjax.serving.live.alarm import END, Alarm


class Log:
    """Appends messages to a file.

    Attributes:
      path: of it.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file, or makes it; a line that a killed process did not finish is left as it is.

        Raises:
          UserError: where it holds something else.
        """
        self.path = path
        self._open: dict[str, Alarm] = {}
        content = path.read_text(encoding='utf-8', errors='replace') if path.exists() else ''
        *lines, torn = content.split('\n')
        for number, line in enumerate(lines, 1):
            try:
                self._follow(Alarm.from_json(json.loads(line)))
            except (ValueError, TypeError) as error:
                if not line.startswith('{'):
                    raise UserError(f'Line {number} of {path} is no alarm; name another folder as --output.') from error
        self._file = path.open('a', encoding='utf-8')
        if torn:
            self._file.write('\n')

    def left_open(self) -> list[Alarm]:
        """Messages that end the alarms which a process that was killed did not end."""
        return [dataclasses.replace(alarm, state=END, number=alarm.number + 1) for alarm in self._open.values()]

    def write(self, alarm: Alarm) -> None:
        """Adds a message."""
        self._follow(alarm)
        self._file.write(json.dumps(alarm.to_json()) + '\n')
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _follow(self, alarm: Alarm) -> None:
        if alarm.state == END:
            self._open.pop(alarm.id, None)
        else:
            self._open[alarm.id] = alarm
