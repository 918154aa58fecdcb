"""What a monitor tells over HTTP: a page for people at `/`, numbers for Prometheus at `/metrics`."""

import html
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from vmmjax.serving.listening import NOT_OURS, Listening

Status = dict[str, Any]  # See `Monitor.status`.

_STYLE = ('body{font:15px sans-serif;margin:2em;max-width:70em}table{border-collapse:collapse;margin-bottom:2em}'
          'th,td{text-align:left;padding:.3em 1em .3em 0;border-bottom:1px solid #ccc}'
          '.running{color:#070}.stalled,.connecting{color:#b00}')
# No script, nothing from elsewhere.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_COUNTERS = {'frames': 'Frames that were decoded.', 'used': 'Frames that a judged window shows.',
             'dropped': 'Frames that no judged window shows.', 'windows': 'Windows that were judged.',
             'windows_dropped': 'Windows that were not judged.', 'damaged': 'Frames that could not be read.',
             'faults': 'How often the source was lost.', 'alarms': 'Alarms that began.'}


class Page(Listening):
    """A server."""

    def __init__(self, where: str, status: Callable[[], Status]) -> None:
        """Begins to serve.

        Args:
          where: host:port; without a host 127.0.0.1; port 0 is any that is free.
          status: what is told.

        Raises:
          UserError: where the address is none, or is in use.
        """
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answers = {'/': (as_page, 'text/html'), '/metrics': (as_metrics, 'text/plain; version=0.0.4'),
                           '/status.json': (lambda found: json.dumps(found, indent=1), 'application/json')}
                if not page.is_asked(self.headers.get('Host', '')):
                    self.send_error(403, explain=NOT_OURS)
                    return
                if self.path not in answers:
                    self.send_error(404)
                    return
                form, kind = answers[self.path]
                content = form(status()).encode()
                self.send_response(200)
                for name, value in (('Content-Type', f'{kind}; charset=utf-8'), ('Content-Length', str(len(content))),
                                    ('Content-Security-Policy', _POLICY), ('X-Content-Type-Options', 'nosniff')):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Nothing: who looks is not logged."""

        super().__init__(where, Handler)


def as_metrics(status: Status) -> str:
    """In the text format of Prometheus."""
    lines = []
    for name, text in _COUNTERS.items():
        lines += [f'# HELP vmmjax_{name}_total {text}', f'# TYPE vmmjax_{name}_total counter']
        lines += [f'vmmjax_{name}_total{{source="{_escaped(source["name"])}"}} {source[name]}'
                  for source in status['sources']]
    lines += ['# HELP vmmjax_delay_seconds From the arrival of the newest frame that was judged until it was.',
              '# TYPE vmmjax_delay_seconds gauge']
    lines += [f'vmmjax_delay_seconds{{source="{_escaped(source["name"])}"}} {source["delay"]:.3f}'
              for source in status['sources']]
    lines += ['# HELP vmmjax_up Whether the source is running.', '# TYPE vmmjax_up gauge']
    lines += [f'vmmjax_up{{source="{_escaped(source["name"])}"}} {int(source["state"] == "running")}'
              for source in status['sources']]
    lines += ['# HELP vmmjax_messages_waiting Messages that are not sent yet.', '# TYPE vmmjax_messages_waiting gauge',
              f'vmmjax_messages_waiting {status["waiting"]}']
    return '\n'.join(lines) + '\n'


def as_page(status: Status) -> str:
    """For people; it loads itself again."""
    sources = [[source['name'], _Markup(f'<span class="{source["state"]}">{source["state"]}</span>'),
                ', '.join(source['stalled']) or '-', f'{source["delay"]:.2f} s', source['frames'], source['dropped'],
                source['windows_dropped'], source['faults'], source['alarms']] for source in status['sources']]
    alarms = [[alarm['time'], alarm['source'], alarm['class'], alarm['state'],
               f'{alarm["start"]:.1f} to {alarm["end"]:.1f} s', f'{alarm["peak"]:.3g}', ', '.join(alarm['present']),
               alarm['evidence'] or '-'] for alarm in reversed(status['alarms'])]
    return ('<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="5">'
            f'<title>vmmjax watch</title><style>{_STYLE}</style><h1>Sources</h1>'
            + _table(['source', 'state', 'absent', 'delay', 'frames', 'dropped', 'windows dropped', 'faults', 'alarms'],
                     sources)
            + '<h1>Last alarms</h1>'
            + _table(['began', 'source', 'class', 'state', 'in the stream', 'peak', 'streams', 'clip'], alarms)
            + f'<p>{status["waiting"]} messages wait to be sent.</p></html>')


def _table(head: list[str], rows: list[list[Any]]) -> str:
    body = ''.join('<tr>' + ''.join(f'<td>{_cell(value)}</td>' for value in row) + '</tr>' for row in rows)
    return f'<table><tr>{"".join(f"<th>{name}</th>" for name in head)}</tr>{body}</table>'


class _Markup(str):
    """Text that is HTML already."""


def _cell(value: Any) -> str:
    return value if isinstance(value, _Markup) else html.escape(str(value))


def _escaped(text: str) -> str:
    return text.replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n')
