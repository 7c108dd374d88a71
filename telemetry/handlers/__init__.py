"""The links of the pipeline, one a file. Each sees every event, does its one thing, and passes it on."""
