"""A run behind a page in the browser: files that are uploaded and judged one after another, over plain HTTP.

`jobs` keeps the queue and a folder for each upload, `server` answers requests; neither knows how a page looks, nor what
is made of a file.
"""
