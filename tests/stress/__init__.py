"""Long trials that the suite runs in a short form: python -m tests.stress COMMAND."""
