"""What a run leaves behind and shows while it goes: verdicts, JUnit, known issues, progress, artifacts."""
