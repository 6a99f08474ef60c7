"""The steward: one niced process per server for all work that is not a request.

It owns every access to the store while the server runs; workers only answer, append, count and obey. Its work is a
list of small jobs, each in a file of its own: a job (`job.py`) has a name, a period and one method. Nothing is loaded
here, so that `python -m serinus.serving.steward` is under way at once.
"""
