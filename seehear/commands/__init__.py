"""The commands: each a frozen dataclass of its options, parsed by type, with a `run`. Results go to standard output,
progress and notes to standard error; `--json` prints the result as JSON."""
