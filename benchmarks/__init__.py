"""What Switchgear costs, measured against what one would use or write instead: ``python -m benchmarks --help``."""
