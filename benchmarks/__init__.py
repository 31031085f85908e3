"""What volnux costs, measured beside a hand-written floor and its peers.

Run ``python -m benchmarks --help``. Every figure is a ratio within one interleaved run.
"""
