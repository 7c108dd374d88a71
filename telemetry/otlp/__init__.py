"""Where traces go: as OpenTelemetry's own spans through any of its exporters; ours write OTLP/JSON, to HTTP and files.

How a trace is derived is not known here. Only this room imports OpenTelemetry for traces; importing it costs a process
some 36 ms and 8 MB, so commands load it when spans leave, and not before.
"""
