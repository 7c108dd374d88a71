"""What could stop a run here, looked for before one is started: facts are gathered, and judged by pure functions."""
