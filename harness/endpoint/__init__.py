"""Endpoints: what sends and captures frames, on either end of the DUT's cable."""
