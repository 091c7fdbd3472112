"""Guests: what a test may ask of the operating system that drives the DUT."""
