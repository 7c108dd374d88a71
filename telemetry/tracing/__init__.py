"""Traces, derived from what is recorded anyway: pure folds over events, fates, control entries and deaths.

Nothing here reads a file or a stream, asks a clock, or draws a random number. Robots and relays carry no tracing code.
"""
