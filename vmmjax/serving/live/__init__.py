"""A run on live streams: sources, windows, alarms, and what is told of them.

A thread a source reads, decodes and keeps the newest frames (`source`, `session`, `columns`, `ring`); one loop judges
the newest windows of all of them at once (`monitor`, `judge`, `windows`); alarms (`alarm`) go to a log, a webhook and a
page (`log`, `webhook`, `page`), and to a clip of what happened (`evidence`).
"""
