"""Loads nicproof's pytest plugin."""

pytest_plugins = ["harness.plugin"]
