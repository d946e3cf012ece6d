"""How work is split and what that costs: one piece of code measured (`timings`), or each way of splitting it (`sweeping`).

`account`, `values`, `result`, `verdict` and `tables` are pure; `runs` and `limits` touch the pool, through public API and feed.
"""
