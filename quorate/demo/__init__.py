"""`quorate demo`: a real data set, a real SIGKILL, and a check of every acknowledged record.

`records` finds the data, `probe` measures the write gap from its own process, `raw_http` is the
lean client that the probe and the benches use, `checks` compares what is there with what was
acknowledged, `story` is the whole of it.
"""
