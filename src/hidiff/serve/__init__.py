"""The page in the browser, the JSON API, and nnInteractive's protocol, over correction sessions.

`run.run_server` is what the commands call. Nothing is imported here, so that the command line can
read `settings` without FastAPI.
"""
