"""The shadow: a process of its own that gets copies of requests, answers them by the candidate, and compares.

    worker ─ Mirror ─▶ bounded socket ─▶ shadow process ─▶ pairs ─▶ steward ─▶ store, where rollouts are judged

Nothing here can delay, fail or change an answer.
"""
