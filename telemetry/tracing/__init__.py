"""Traces, derived from what is recorded anyway: pure folds over events, fates, control entries and deaths.

Robots and relays carry no tracing code. Spans that an SDK records in each process were measured: they cost 46 to 64 %
more CPU per exchange, and when robots were killed, 8 % of the traces had no root, because a span is exported only when
it ends. Derived spans cost robots and relays nothing but the fields of their events, serve live, recorded and simulated
runs alike, and show what a killed robot could not report any more. An envelope carries all that its trace is named by.

Nothing here reads a file or a stream, asks a clock, or draws a random number.
"""
